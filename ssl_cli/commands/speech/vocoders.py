"""tmp"""


def use_vocoder(finished, folder):
    assert folder is None
