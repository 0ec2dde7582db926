# mypy: ignore-errors
# ruff: noqa
"""The plainest streaming model: `prompt` in, text pieces out.

Everything the server can configure is left at its default, so this one has
predict_concurrency 1 and a 60 s gap limit. A body without `prompt` is a
KeyError, hence a 500, exactly as with most hand-written models.
"""

import time

LINES = "Grey waves fold and fall,\nsalt wind combs the waiting shore,\nthe tide keeps its word.\n"


def pieces(text):
    word = ""
    for ch in text:
        word += ch
        if ch in " \n":
            yield word
            word = ""
    if word:
        yield word


class Model:
    def __init__(self, **kwargs):
        pass

    def load(self):
        pass

    def predict(self, model_input):
        prompt = model_input["prompt"]
        limit = int(model_input.get("max_tokens", 0))
        out = list(pieces(LINES if "haiku" in prompt.lower() else prompt + "\n"))
        if limit:
            out = out[:limit]
        if not model_input.get("stream", False):
            return {"output": "".join(out)}

        def run():
            for piece in out:
                time.sleep(float(model_input.get("delay_s", 0.1)))
                yield piece

        return run()
