// Vercel's `ai`, with each of its three providers: the user's turn and the answers of the tools are one call, whose
// loop is `ai`'s own. It validates every chunk and every whole answer with its own schemas.

import { createAnthropic } from '@ai-sdk/anthropic'
import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { Output, generateText, isStepCount, jsonSchema, streamText, tool } from 'ai'

import { MAX_TOKENS, Place, hasLeft, hear, newHeard, resultOf, schemaOf, troubleOf } from './heard.mjs'

// Model names here are not known to the provider, so it is told what it would look up: that the model reasons. Nothing is
// stored, so everything has to travel in the messages.
const OPENAI = { openai: { store: false, forceReasoning: true } }
const THINKING = {
  on: { thinking: { type: 'enabled', budgetTokens: 4096 } },
  auto: { thinking: { type: 'adaptive', display: 'summarized' } },
}

const PROVIDERS = {
  'ai/openai': (url, talk) => [openai(url).responses(talk.model), OPENAI],
  'ai/openai.chat': (url, talk) => [openai(url).chat(talk.model), OPENAI],
  'ai/anthropic': (url, talk) => [
    createAnthropic({ baseURL: `${url}/v1`, apiKey: 'unused' })(talk.model),
    talk.reasoning ? { anthropic: THINKING[talk.reasoning] } : {},
  ],
  'ai/openai-compatible': (url, talk) => [
    createOpenAICompatible({
      name: 'gateway', baseURL: `${url}/v1`, apiKey: 'unused', includeUsage: true, supportsStructuredOutputs: true,
    })(talk.model),
    {},
  ],
}

const openai = (url) => createOpenAI({ baseURL: `${url}/v1`, apiKey: 'unused' })

export async function perform(url, talk, client) {
  const [model, providerOptions] = PROVIDERS[client](url, talk)
  const told = []
  const messages = []
  for (const turn of talk.turns.filter((turn) => turn.text)) {
    messages.push({ role: 'user', content: partsOf(turn) })
    const request = { ...requestOf(talk, messages), model, providerOptions }
    const heard = newHeard()
    try {
      const result = talk.stream ? await streamed(request, talk, heard) : await generateText(request)
      if (!result) return [...told, heard]
      const steps = (await result.steps).map(heardOf)
      steps[0].pieces = heard.pieces
      if (talk.wants_object) steps.at(-1).value = await result.output
      told.push(...steps)
      messages.push(...(await result.responseMessages))
    } catch (error) {
      return [...told, { ...heard, trouble: troubleOf(error) }]
    }
  }
  return told
}

function partsOf(turn) {
  const text = { type: 'text', text: turn.text }
  if (!turn.image) return [text]
  return [text, { type: 'file', mediaType: 'image/png', data: Buffer.from(turn.image, 'base64') }]
}

function requestOf(talk, messages) {
  const request = { messages: [...messages], maxOutputTokens: MAX_TOKENS, maxRetries: 0, stopWhen: isStepCount(9) }
  if (talk.tools.length) {
    request.tools = Object.fromEntries(talk.tools.map((each) => [each.name, toolOf(each, talk)]))
  }
  if (talk.reasoning) request.reasoning = 'medium'
  if (talk.wants_object) request.output = Output.object({ schema: Place })
  return request
}

const toolOf = (each, talk) =>
  tool({
    description: each.description,
    inputSchema: jsonSchema(schemaOf(each)),
    execute: async (args) => resultOf(talk, args),
  })

async function streamed(request, talk, heard) {
  const leaving = new AbortController()
  const result = streamText({ ...request, abortSignal: leaving.signal, onError() {} })
  for await (const part of result.stream) {
    if (part.type === 'text-delta') hear(heard, part.text)
    if (part.type === 'error') throw errorOf(part.error)
    if (hasLeft(heard, talk)) {
      leaving.abort()
      return null
    }
  }
  return result
}

// Errors inside a stream reach the application as the provider read them: an exception, or the object of the frame.
function errorOf(error) {
  if (error instanceof Error) return error
  const message = typeof error === 'string' ? error : (error?.error?.message ?? error?.message ?? JSON.stringify(error))
  return new Error(message)
}

function heardOf(step) {
  const heard = newHeard()
  heard.text = step.text
  heard.reasoning = step.reasoningText ?? ''
  heard.seal = step.reasoning.map((part) => sealOf(part.providerMetadata ?? part.providerOptions)).join('')
  heard.calls = step.toolCalls.map((call) => ({ id: call.toolCallId, name: call.toolName, arguments: call.input }))
  heard.finish = step.finishReason
  heard.usage = {
    input: step.usage.inputTokens ?? null,
    cached: step.usage.inputTokenDetails.cacheReadTokens ?? null,
    written: step.usage.inputTokenDetails.cacheWriteTokens ?? null,
    output: step.usage.outputTokens ?? null,
    reasoning: step.usage.outputTokenDetails.reasoningTokens ?? null,
  }
  return heard
}

const sealOf = (metadata) => metadata?.anthropic?.signature ?? metadata?.openai?.reasoningEncryptedContent ?? ''
