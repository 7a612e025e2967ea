from streamqa.bench.fanout_resume import resume_s


def test_whoever_comes_back_gets_all() -> None:
    assert 0 < resume_s(3000) < 30
