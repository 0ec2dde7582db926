// What one answer was to a client, as tests/conformance/conversation.py has it.

import { z } from 'zod'

export const MAX_TOKENS = 8192

/** What structured output is asked for. */
export const Place = z.object({ city: z.string(), population: z.number().int(), coastal: z.boolean() })

export const newHeard = () => ({
  text: '', pieces: 0, reasoning: '', seal: '', calls: [], finish: null, usage: null, value: null, trouble: null,
})

export function hear(heard, text) {
  heard.text += text
  heard.pieces += 1
}

export const hasLeft = (heard, talk) => talk.leave_after > 0 && heard.pieces >= talk.leave_after

class Inconsistent extends Error {}

/** A rule of the protocol that the SDK does not check itself. */
export function require(isTrue, what) {
  if (!isTrue) throw new Inconsistent(what)
}

export function troubleOf(error) {
  const type = error.constructor?.name ?? 'Error'
  return { type, status: error.status ?? error.statusCode ?? null, message: String(error.message ?? error) }
}

/** The whole conversation; it ends where something goes wrong. */
export async function converse(ask, talk) {
  const told = []
  for (const turn of talk.turns) {
    const heard = newHeard()
    told.push(heard)
    try {
      await ask(turn, heard)
    } catch (error) {
      heard.trouble = troubleOf(error)
      break
    }
  }
  return told
}

export const schemaOf = (tool) => ({
  type: 'object',
  properties: { [tool.argument]: { type: 'string' } },
  required: [tool.argument],
  additionalProperties: false,
})

/** What a tool answers to a call, by the one argument it has. */
export const resultOf = (talk, args) => talk.results[Object.values(args)[0]]

export const imageUrl = (turn) => `data:image/png;base64,${turn.image}`
