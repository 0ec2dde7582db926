# mypy: ignore-errors
# ruff: noqa
"""One model, many behaviours: body["case"] names what predict should do.

`n` sets how many pieces, `delay_s` the pause before each piece. Each run of a
generator is logged with a `[gen]` line at every piece, so that a reader of the
server's log can see whether generation went on after a client hung up.
"""

import asyncio
import json
import time

import fastapi
import pydantic
from starlette.responses import JSONResponse, StreamingResponse

WORDS = ["Grey ", "waves ", "fold ", "and ", "fall.\n"]
MULTIBYTE = "naïve 海 🌊 end".encode("utf-8")


def log(*parts):
    print("[gen]", time.strftime("%H:%M:%S"), *parts, flush=True)


def openai_chunk(delta, finish=None, usage=None):
    body = {
        "id": "chatcmpl-case",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "cases",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    if usage:
        body["choices"] = []
        body["usage"] = usage
    return "data: " + json.dumps(body) + "\n\n"


def openai_sse(n, delay):
    yield openai_chunk({"role": "assistant", "content": ""})
    for i in range(n):
        time.sleep(delay)
        yield openai_chunk({"content": WORDS[i % len(WORDS)]})
    yield openai_chunk({}, finish="stop")
    yield openai_chunk({}, usage={"prompt_tokens": 7, "completion_tokens": n, "total_tokens": 7 + n})
    yield "data: [DONE]\n\n"


def anthropic_sse(n, delay):
    def ev(name, **kw):
        return "event: %s\ndata: %s\n\n" % (name, json.dumps({"type": name, **kw}))

    yield ev(
        "message_start",
        message={
            "id": "msg_case",
            "type": "message",
            "role": "assistant",
            "model": "cases",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 7, "output_tokens": 0},
        },
    )
    yield ev("content_block_start", index=0, content_block={"type": "text", "text": ""})
    for i in range(n):
        time.sleep(delay)
        yield ev("content_block_delta", index=0, delta={"type": "text_delta", "text": WORDS[i % len(WORDS)]})
    yield ev("content_block_stop", index=0)
    yield ev("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": n})
    yield ev("message_stop")


class Shape(pydantic.BaseModel):
    text: str
    n: int


class Model:
    def __init__(self, **kwargs):
        pass

    def predict(self, body, request: fastapi.Request):
        case = body.get("case", "stream" if body.get("stream") else "json")
        n = int(body.get("n", 5))
        delay = float(body.get("delay_s", 0.15))
        run = getattr(self, "case_" + case, None)
        if run is None:
            raise fastapi.HTTPException(status_code=422, detail="unknown case " + case)
        return run(body, n, delay, request)

    # -- not streaming ---------------------------------------------------
    def case_json(self, body, n, delay, request):
        return {"output": "".join(WORDS[:n]), "status": "success"}

    def case_string(self, body, n, delay, request):
        return "Grey waves “fold” 海\n"

    def case_list(self, body, n, delay, request):
        return [{"generated_text": "".join(WORDS[:n])}]

    def case_none(self, body, n, delay, request):
        return None

    def case_pydantic(self, body, n, delay, request):
        return Shape(text="Grey", n=n)

    def case_unserialisable(self, body, n, delay, request):
        return {"x": object()}

    def case_bytes(self, body, n, delay, request):
        return b"raw bytes"

    def case_openai_json(self, body, n, delay, request):
        text = "".join(WORDS[:n])
        return {
            "id": "chatcmpl-case",
            "object": "chat.completion",
            "created": 0,
            "model": "cases",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
            "usage": {"prompt_tokens": 7, "completion_tokens": n, "total_tokens": 7 + n},
        }

    # -- streams ---------------------------------------------------------
    def case_stream(self, body, n, delay, request):
        def run():
            try:
                for i in range(n):
                    time.sleep(delay)
                    log("piece", i)
                    yield WORDS[i % len(WORDS)]
                log("finished")
            finally:
                log("closed")

        return run()

    def case_stream_async(self, body, n, delay, request):
        async def run():
            try:
                for i in range(n):
                    await asyncio.sleep(delay)
                    log("async piece", i)
                    yield WORDS[i % len(WORDS)].encode()
                log("async finished")
            finally:
                log("async closed")

        return run()

    def case_stream_split_utf8(self, body, n, delay, request):
        """Bytes, two at a time, so multi-byte characters are cut in half."""

        def run():
            for i in range(0, len(MULTIBYTE), 2):
                time.sleep(delay)
                yield MULTIBYTE[i : i + 2]

        return run()

    def case_stream_empty(self, body, n, delay, request):
        def run():
            return
            yield

        return run()

    def case_stream_empty_piece(self, body, n, delay, request):
        def run():
            yield "one "
            yield ""
            time.sleep(delay)
            yield "two"

        return run()

    def case_stream_dicts(self, body, n, delay, request):
        def run():
            for i in range(n):
                yield {"text": WORDS[i]}

        return run()

    def case_stream_jsonl(self, body, n, delay, request):
        def run():
            for i in range(n):
                time.sleep(delay)
                yield json.dumps({"text": WORDS[i % len(WORDS)], "done": i == n - 1}) + "\n"

        return run()

    def case_stream_burst(self, body, n, delay, request):
        """Many big pieces with no pause: who holds them if the client reads slowly?"""

        def run():
            for i in range(n):
                if i % 100 == 0:
                    log("burst piece", i)
                yield "x" * 65536
            log("burst finished")

        return run()

    def case_sse_octet(self, body, n, delay, request):
        return openai_sse(n, delay)

    def case_sse_typed(self, body, n, delay, request):
        return StreamingResponse(openai_sse(n, delay), media_type="text/event-stream")

    # -- failures --------------------------------------------------------
    def case_raise(self, body, n, delay, request):
        raise ValueError("raised before any generator was made")

    def case_raise_429(self, body, n, delay, request):
        raise fastapi.HTTPException(status_code=429, detail="model is busy", headers={"Retry-After": "3"})

    def case_respond_422(self, body, n, delay, request):
        return JSONResponse(
            {"error": {"message": "prompt is too long", "type": "invalid_request_error"}}, status_code=422
        )

    def case_stream_raise_first(self, body, n, delay, request):
        def run():
            raise ValueError("raised before the first piece")
            yield

        return run()

    def case_stream_raise_mid(self, body, n, delay, request):
        def run():
            for i in range(n):
                time.sleep(delay)
                if i == 2:
                    raise ValueError("raised after two pieces")
                yield WORDS[i % len(WORDS)]

        return run()

    def case_sse_typed_raise_mid(self, body, n, delay, request):
        def run():
            for i, part in enumerate(openai_sse(n, delay)):
                if i == 3:
                    raise ValueError("raised after three events")
                yield part

        return StreamingResponse(run(), media_type="text/event-stream")

    def case_stream_stall(self, body, n, delay, request):
        """Stay silent longer than runtime.streaming_read_timeout."""

        def run():
            yield WORDS[0]
            yield WORDS[1]
            time.sleep(float(body.get("stall_s", 6)))
            log("woke after the stall")
            yield WORDS[2]

        return run()

    def case_stream_stall_first(self, body, n, delay, request):
        def run():
            time.sleep(float(body.get("stall_s", 6)))
            yield WORDS[0]

        return run()

    # -- the other methods the server routes ------------------------------
    def chat_completions(self, body):
        n = int(body.get("n_pieces", 5))
        if body.get("stream"):
            return openai_sse(n, 0.15)
        return self.case_openai_json(body, n, 0, None)

    def messages(self, body):
        n = int(body.get("n_pieces", 5))
        if body.get("stream"):
            return anthropic_sse(n, 0.15)
        return {
            "id": "msg_case",
            "type": "message",
            "role": "assistant",
            "model": "cases",
            "content": [{"type": "text", "text": "".join(WORDS[:n])}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 7, "output_tokens": n},
        }
