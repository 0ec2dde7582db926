// Reads conversations as lines of JSON and writes what was heard, many at a time: {id, client, url, talk} → {id, heard}.

import { createInterface } from 'node:readline'

import * as anthropic from './anthropic_messages.mjs'
import * as chat from './openai_chat.mjs'
import * as responses from './openai_responses.mjs'
import * as truss from './truss.mjs'
import * as vercel from './vercel.mjs'

globalThis.AI_SDK_LOG_WARNINGS = false

// SDKs reject promises that nobody asked for when a stream fails; the one that was asked for is what counts.
process.on('unhandledRejection', () => {})

const MODULES = {
  'openai.chat': chat, 'openai.responses': responses, anthropic, 'fetch.messages': truss, 'fetch.prompt': truss,
}

createInterface({ input: process.stdin }).on('line', async (line) => {
  const { id, client, url, talk } = JSON.parse(line)
  const heard = await (MODULES[client] ?? vercel).perform(url, talk, client)
  process.stdout.write(`${JSON.stringify({ id, heard })}\n`)
})
