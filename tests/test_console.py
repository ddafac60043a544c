from dkse_jax.console import log


def test_a_line_is_plain_text(capsys):
    log("report: runs/\x1b[2J a\nb")
    assert capsys.readouterr().out == "report: runs/\ufffd[2J a\ufffdb\n"
