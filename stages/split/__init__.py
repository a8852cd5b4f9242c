"""How the dataset's rows get their ids and are divided into train, test and val."""
