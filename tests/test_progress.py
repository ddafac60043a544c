from dkse_jax.progress import say


def test_a_line_is_plain_text(capsys):
    say("report: runs/\x1b[2J a\nb")
    assert capsys.readouterr().out == "report: runs/\ufffd[2J a\ufffdb\n"
