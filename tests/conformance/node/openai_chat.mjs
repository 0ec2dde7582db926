// OpenAI's SDK, chat.completions, through its stream helper.

import OpenAI from 'openai'
import { zodResponseFormat } from 'openai/helpers/zod'

import { MAX_TOKENS, Place, converse, hasLeft, hear, imageUrl, require, resultOf, schemaOf } from './heard.mjs'

export function perform(url, talk) {
  const sdk = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'unused', maxRetries: 0 })
  const messages = []
  let calls = []

  async function ask(turn, heard) {
    if (turn.text) messages.push(messageOf(turn))
    else messages.push(...calls.map((call) => resultMessage(call, talk)))
    const request = requestOf(talk, messages)
    const message = talk.stream ? await streamed(sdk, request, talk, heard) : await whole(sdk, request, heard)
    if (!message) return
    calls = heard.calls
    messages.push(message)
  }

  return converse(ask, talk)
}

export const resultMessage = (call, talk) => ({
  role: 'tool', tool_call_id: call.id, content: resultOf(talk, call.arguments),
})

export function messageOf(turn) {
  if (!turn.image) return { role: 'user', content: turn.text }
  const image = { type: 'image_url', image_url: { url: imageUrl(turn) } }
  return { role: 'user', content: [{ type: 'text', text: turn.text }, image] }
}

export function requestOf(talk, messages) {
  const request = { model: talk.model, messages, max_completion_tokens: MAX_TOKENS }
  if (talk.tools.length) {
    request.tools = talk.tools.map((tool) => ({
      type: 'function',
      function: { name: tool.name, description: tool.description, parameters: schemaOf(tool), strict: true },
    }))
  }
  if (talk.reasoning) request.reasoning_effort = 'medium'
  if (talk.wants_object) request.response_format = zodResponseFormat(Place, 'Place')
  return request
}

async function whole(sdk, request, heard) {
  const completions = sdk.chat.completions
  const answer = await (request.response_format ? completions.parse(request) : completions.create(request))
  const message = answer.choices[0].message
  heard.text = message.content ?? ''
  hearMessage(heard, message, answer)
  return message
}

async function streamed(sdk, request, talk, heard) {
  const stream = sdk.chat.completions.stream({ ...request, stream_options: { include_usage: true } })
  const details = []
  let hasUsage = false
  for await (const chunk of stream) {
    require(!hasUsage, 'a chunk after the usage chunk')
    hasUsage = Boolean(chunk.usage)
    for (const choice of chunk.choices) {
      if (choice.delta.content) hear(heard, choice.delta.content)
      heard.reasoning += choice.delta.reasoning_content ?? ''
      details.push(...(choice.delta.reasoning_details ?? []))
    }
    if (hasLeft(heard, talk)) {
      stream.abort()
      return null
    }
  }
  const answer = await stream.finalChatCompletion()
  const message = { ...answer.choices[0].message }
  require((message.content ?? '') === heard.text, 'the final text is not the sum of its deltas')
  // The helper keeps the last delta of fields it doesn't know, so an application sums them up itself.
  if (heard.reasoning) message.reasoning_content = heard.reasoning
  if (details.length) message.reasoning_details = details
  hearMessage(heard, message, answer)
  delete message.parsed
  return message
}

export function hearMessage(heard, message, answer) {
  heard.reasoning = message.reasoning_content ?? ''
  heard.seal = (message.reasoning_details ?? []).map((detail) => detail.signature ?? detail.data ?? '').join('')
  heard.calls = (message.tool_calls ?? []).map((call) => ({
    id: call.id,
    name: call.function.name,
    arguments: JSON.parse(call.function.arguments),
  }))
  heard.finish = answer.choices[0].finish_reason
  heard.value = message.parsed ?? null
  const usage = answer.usage
  if (!usage) return
  require(usage.total_tokens === usage.prompt_tokens + usage.completion_tokens, 'total_tokens is no sum')
  heard.usage = {
    input: usage.prompt_tokens,
    cached: usage.prompt_tokens_details?.cached_tokens ?? null,
    written: usage.prompt_tokens_details?.cache_write_tokens ?? null,
    output: usage.completion_tokens,
    reasoning: usage.completion_tokens_details?.reasoning_tokens ?? null,
  }
}
