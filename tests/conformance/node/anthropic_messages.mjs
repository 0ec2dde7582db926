// Anthropic's SDK, through its stream helper.

import Anthropic from '@anthropic-ai/sdk'
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod'

import { MAX_TOKENS, Place, converse, hasLeft, hear, require, resultOf, schemaOf } from './heard.mjs'

const THINKING = {
  on: { type: 'enabled', budget_tokens: 4096 },
  auto: { type: 'adaptive', display: 'summarized' },
}

export function perform(url, talk) {
  const sdk = new Anthropic({ baseURL: url, apiKey: 'unused', maxRetries: 0 })
  const messages = []
  let calls = []

  async function ask(turn, heard) {
    messages.push({ role: 'user', content: turn.text ? partsOf(turn) : resultsOf(calls, talk) })
    const request = requestOf(talk, messages)
    const answer = talk.stream ? await streamed(sdk, request, talk, heard) : await whole(sdk, request)
    if (!answer) return
    hearMessage(heard, answer)
    calls = heard.calls
    messages.push({ role: 'assistant', content: answer.content })
  }

  return converse(ask, talk)
}

function partsOf(turn) {
  if (!turn.image) return turn.text
  const source = { type: 'base64', media_type: 'image/png', data: turn.image }
  return [{ type: 'image', source }, { type: 'text', text: turn.text }]
}

const resultsOf = (calls, talk) =>
  calls.map((call) => ({ type: 'tool_result', tool_use_id: call.id, content: resultOf(talk, call.arguments) }))

function requestOf(talk, messages) {
  const request = { model: talk.model, max_tokens: MAX_TOKENS, messages: [...messages] }
  if (talk.tools.length) {
    request.tools = talk.tools.map((tool) => ({
      name: tool.name, description: tool.description, input_schema: schemaOf(tool),
    }))
  }
  if (talk.reasoning) request.thinking = THINKING[talk.reasoning]
  if (talk.wants_object) request.output_config = { format: zodOutputFormat(Place) }
  return request
}

const whole = (sdk, request) => (request.output_config ? sdk.messages.parse(request) : sdk.messages.create(request))

async function streamed(sdk, request, talk, heard) {
  const stream = sdk.messages.stream(request)
  for await (const event of stream) {
    if (event.type === 'content_block_delta' && event.delta.type === 'text_delta') hear(heard, event.delta.text)
    if (hasLeft(heard, talk)) {
      stream.abort()
      return null
    }
  }
  const answer = await stream.finalMessage()
  const texts = answer.content.filter((block) => block.type === 'text').map((block) => block.text)
  require(texts.join('') === heard.text, 'the final text is not the sum of its deltas')
  return answer
}

function hearMessage(heard, message) {
  let text = ''
  for (const block of message.content) {
    if (block.type === 'text') text += block.text
    if (block.type === 'tool_use') heard.calls.push({ id: block.id, name: block.name, arguments: block.input })
    if (block.type === 'thinking') {
      heard.reasoning += block.thinking
      heard.seal += block.signature
    }
  }
  heard.text = text
  heard.finish = message.stop_reason
  heard.value = message.parsed_output ?? null
  const usage = message.usage
  const [cached, written] = [usage.cache_read_input_tokens ?? 0, usage.cache_creation_input_tokens ?? 0]
  heard.usage = {
    input: usage.input_tokens + cached + written,
    cached,
    written,
    output: usage.output_tokens,
    reasoning: usage.output_tokens_details?.thinking_tokens ?? null,
  }
}
