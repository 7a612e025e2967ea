import json
from pathlib import Path

import pytest

from streamqa.bench.capture_child import everything, main, sampled
from streamqa.bench.capture_clips import RECORDED, make_clip

KIND = RECORDED[0].scaled((160, 96))


def test_a_clip_is_sampled_or_decoded_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = str(make_clip(tmp_path, KIND, 2.2))
    assert sampled(clip) == 3
    assert everything(clip) == 66
    for what, pictures in (("sampled", 3), ("all", 66)):
        main([what, clip])
        told = json.loads(capsys.readouterr().out)
        assert told["pictures"] == pictures
        assert told["cpu_s"] > 0
        assert told["wall_s"] > 0


def test_nothing_reads_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    main(["nothing"])
    assert json.loads(capsys.readouterr().out)["pictures"] == 0
