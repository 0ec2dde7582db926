// Callers of Truss models, with fetch: `messages`, answered as OpenAI does, and a `prompt`, answered with text.

import { MAX_TOKENS, converse, hasLeft, hear, require } from './heard.mjs'
import { hearMessage, messageOf, requestOf, resultMessage } from './openai_chat.mjs'

export function perform(url, talk, client) {
  const messages = []
  let calls = []

  async function askPrompt(turn, heard) {
    const answer = await called(url, talk, { prompt: turn.text })
    if (!talk.stream) heard.text = await answer.json()
    else for await (const text of texts(answer, heard, talk)) hear(heard, text)
  }

  async function askMessages(turn, heard) {
    messages.push(...(turn.text ? [messageOf(turn)] : calls.map((call) => resultMessage(call, talk))))
    const { model, max_completion_tokens, ...body } = requestOf(talk, messages)
    const answer = await called(url, talk, talk.stream ? { ...body, stream_options: { include_usage: true } } : body)
    const completion = talk.stream ? await folded(answer, heard, talk) : await answer.json()
    if (!completion) return
    const message = completion.choices[0].message
    heard.text ||= message.content ?? ''
    hearMessage(heard, message, completion)
    if (talk.wants_object) heard.value = JSON.parse(heard.text)
    calls = heard.calls
    messages.push(message)
  }

  return converse(client === 'fetch.prompt' ? askPrompt : askMessages, talk)
}

class TrussError extends Error {
  constructor(status, message) {
    super(message)
    this.status = status
  }
}

class BrokenEvents extends Error {}

async function called(url, talk, body) {
  const answer = await fetch(`${url}/model-${talk.model}/production/predict`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...body, stream: talk.stream, max_tokens: MAX_TOKENS }),
  })
  if (answer.ok) return answer
  const told = await answer.json()
  require(Object.keys(told).join() === 'error', 'an error body is {"error": text}')
  throw new TrussError(answer.status, told.error)
}

/** The pieces of a body as text, until the client leaves. */
async function* texts(answer, heard, talk) {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  for await (const piece of answer.body) {
    yield decoder.decode(piece, { stream: true })
    if (hasLeft(heard, talk)) return
  }
  decoder.decode()
}

/** The completion that chunks make, one head a call, in order; null if the client left. */
async function folded(answer, heard, talk) {
  const message = { role: 'assistant', content: null }
  const completion = { choices: [{ index: 0, message, finish_reason: null }], usage: null }
  let rest = ''
  for await (const text of texts(answer, heard, talk)) {
    const frames = (rest + text).split('\n\n')
    rest = frames.pop()
    for (const frame of frames.filter((frame) => frame.startsWith('data: '))) {
      if (frame === 'data: [DONE]') return completion
      take(JSON.parse(frame.slice(6)), completion, heard)
    }
    if (hasLeft(heard, talk)) return null
  }
  throw new BrokenEvents('no [DONE]')
}

function take(chunk, completion, heard) {
  if (chunk.error) throw new BrokenEvents(chunk.error.message)
  require(!completion.usage, 'a chunk after the usage chunk')
  completion.usage = chunk.usage
  const choice = completion.choices[0]
  for (const { delta, finish_reason: reason } of chunk.choices) {
    require(!(reason && choice.finish_reason), 'a second finish reason')
    choice.finish_reason ??= reason
    if (delta.content) hear(heard, delta.content)
    append(choice.message, delta)
  }
}

function append(message, delta) {
  for (const name of ['content', 'reasoning_content']) {
    if (delta[name]) message[name] = (message[name] ?? '') + delta[name]
  }
  if (delta.reasoning_details) (message.reasoning_details ??= []).push(...delta.reasoning_details)
  for (const call of delta.tool_calls ?? []) {
    const calls = (message.tool_calls ??= [])
    if (call.id) {
      require(call.index === calls.length, 'a head out of order')
      calls.push({ id: call.id, type: 'function', function: { name: call.function.name, arguments: '' } })
    }
    require(call.index === calls.length - 1, 'calls that do not come one after the other')
    calls[call.index].function.arguments += call.function.arguments ?? ''
  }
}
