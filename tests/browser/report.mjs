// The lines that a run prints: `ok …`, `not ok …`, and `# …` for explanations. Each check has a deadline; the first
// failed check ends the story.

import { setTimeout as sleep } from 'node:timers/promises';

export class CheckFailed extends Error {}

export function note(text) {
  for (const line of String(text).split('\n')) console.log(`# ${line}`);
}

/** Runs `work` under a deadline, prints how it went and passes on what it returned. */
export async function check(name, work, withinMs = 30_000) {
  const began = performance.now();
  const deadline = new AbortController();
  try {
    const late = sleep(withinMs, undefined, { signal: deadline.signal }).then(() => {
      throw new Error(`not within ${withinMs} ms`);
    });
    late.catch(() => {});
    const result = await Promise.race([work(), late]);
    console.log(`ok ${name} (${Math.round(performance.now() - began)} ms)`);
    return result;
  } catch (error) {
    console.log(`not ok ${name}`);
    note(error.message);
    throw new CheckFailed(name, { cause: error });
  } finally {
    deadline.abort();
  }
}

/** Polls `question` until it answers truthily. Bounded by the check that surrounds it. */
export async function until(question, everyMs = 50) {
  for (;;) {
    const answer = await question();
    if (answer) return answer;
    await sleep(everyMs);
  }
}

export function ensure(condition, message) {
  if (!condition) throw new Error(message);
}
