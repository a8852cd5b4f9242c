"""stages/running/hub_client.py: whom huggingface_hub's HTTP client shows a token to."""

from __future__ import annotations

import pytest

from stages.common.errors import ConfigError
from stages.running import hub_client


def test_a_token_goes_unencrypted_to_no_other_machine() -> None:
    asked: list[str] = []
    client = hub_client.client("the model", None, without_token="; or none", asked=lambda: asked.append("once"))
    with client, pytest.raises(ConfigError) as error:
        client.get("http://hub.example/api/models", headers={"Authorization": "Bearer hf_secret"})
    assert "HF_ENDPOINT" in str(error.value)
    assert "https:// address; or none" in str(error.value)
    assert "hf_secret" not in str(error.value)
    assert asked == [], "nothing was sent"
