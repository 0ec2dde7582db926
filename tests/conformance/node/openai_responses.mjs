// OpenAI's SDK, responses, through its stream helper; stateless: the whole output goes back as input.

import OpenAI from 'openai'
import { zodTextFormat } from 'openai/helpers/zod'

import { MAX_TOKENS, Place, converse, hasLeft, hear, imageUrl, require, resultOf, schemaOf } from './heard.mjs'

export function perform(url, talk) {
  const sdk = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'unused', maxRetries: 0 })
  const input = []
  let calls = []

  async function ask(turn, heard) {
    if (turn.text) input.push(messageOf(turn))
    else input.push(...calls.map((call) => outputOf(call, talk)))
    const request = requestOf(talk, input)
    const answer = talk.stream ? await streamed(sdk, request, talk, heard) : await whole(sdk, request)
    if (!answer) return
    hearResponse(heard, answer)
    calls = heard.calls
    input.push(...answer.output)
  }

  return converse(ask, talk)
}

const outputOf = (call, talk) => ({
  type: 'function_call_output', call_id: call.id, output: resultOf(talk, call.arguments),
})

function messageOf(turn) {
  const content = [{ type: 'input_text', text: turn.text }]
  if (turn.image) content.push({ type: 'input_image', image_url: imageUrl(turn), detail: 'auto' })
  return { role: 'user', content }
}

function requestOf(talk, input) {
  const request = { model: talk.model, input, store: false, max_output_tokens: MAX_TOKENS }
  if (talk.tools.length) {
    request.tools = talk.tools.map((tool) => ({
      type: 'function', name: tool.name, description: tool.description, parameters: schemaOf(tool), strict: true,
    }))
  }
  if (talk.reasoning) {
    request.reasoning = { effort: 'medium', summary: 'auto' }
    request.include = ['reasoning.encrypted_content']
  }
  if (talk.wants_object) request.text = { format: zodTextFormat(Place, 'Place') }
  return request
}

const whole = (sdk, request) => (request.text ? sdk.responses.parse(request) : sdk.responses.create(request))

async function streamed(sdk, request, talk, heard) {
  const stream = sdk.responses.stream(request)
  let expected = 0
  for await (const event of stream) {
    require(event.sequence_number === expected, 'a gap in sequence_number')
    expected += 1
    if (event.type === 'response.output_text.delta') hear(heard, event.delta)
    if (event.type === 'response.failed') {
      const { code, message } = event.response.error
      heard.trouble = { type: code, status: null, message }
      return null
    }
    if (hasLeft(heard, talk)) {
      stream.abort()
      return null
    }
  }
  const answer = await stream.finalResponse()
  require(answer.output_text === heard.text, 'the final text is not the sum of its deltas')
  return answer
}

function hearResponse(heard, answer) {
  heard.text ||= answer.output_text
  for (const item of answer.output) {
    if (item.type === 'function_call') {
      heard.calls.push({ id: item.call_id, name: item.name, arguments: JSON.parse(item.arguments) })
    }
    if (item.type === 'reasoning') {
      heard.reasoning += [...item.summary, ...(item.content ?? [])].map((part) => part.text).join('')
      heard.seal += item.encrypted_content ?? ''
    }
  }
  heard.finish = answer.status
  heard.value = answer.output_parsed ?? null
  const usage = answer.usage
  if (!usage) return
  require(usage.total_tokens === usage.input_tokens + usage.output_tokens, 'total_tokens is no sum')
  heard.usage = {
    input: usage.input_tokens,
    cached: usage.input_tokens_details.cached_tokens,
    written: usage.input_tokens_details.cache_write_tokens,
    output: usage.output_tokens,
    reasoning: usage.output_tokens_details.reasoning_tokens,
  }
}
