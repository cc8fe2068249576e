"""Claims are of metrics that something measures."""

import pytest

from diffshortcut.errors import UserError
from diffshortcut.job import command, measured


def claiming(metric, **metrics):
    nodes = {name: {"_target_": f"diffshortcut.metrics.{of}"} for name, of in metrics.items()}
    claim = {"metric": metric, "arm": "ours", "rivals": ["jpeg"]}
    return {"metric": nodes, "compare": {"claims": [claim]}}


def test_a_claim_of_a_mistyped_metric_is_refused_before_the_run(caplog):
    """One that is measured elsewhere is warned of; a plug-in may measure what it likes."""
    both = {"ims": "ims.IMS", "quality": "quality.Quality"}
    with pytest.raises(UserError, match=r"nothing measures 'overal'. Did you mean 'overall'"):
        measured.check_claims(claiming("overal", **both))
    for metric in ("ims", "q", "overall", "seconds.purify.sr"):
        measured.check_claims(claiming(metric, **both))
    assert not caplog.text
    measured.check_claims(claiming("style", **both))
    assert "measures no style here" in caplog.text
    given = claiming("overal", **both)
    given["metric"]["own"] = {"_target_": "mine.Metric"}
    measured.check_claims(given)


def test_a_command_with_such_a_claim_is_no_comparison():
    claim = "{metric: overal, arm: clean, rivals: [clean+jpeg]}"
    words = ["data.people=1", "purifier=jpeg", "logger=none", f"compare.claims=[{claim}]"]
    with pytest.raises(UserError, match="nothing measures 'overal'"):
        command.comparison(words)
