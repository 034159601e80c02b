// The state of a hub, as a colour and in words.
import { count } from '../words';
import { isLost, type HubNow } from './mesh';

export type Mood = 'well' | 'calm' | 'warn' | 'bad';

/** A hub is shown as full when this part of its places is taken. */
const FULL = 0.9;
/** A clock is marked when it is wrong by this much. */
export const CLOCK_MS = 1_000;

export function troubles(hub: HubNow): { mood: Mood; text: string }[] {
  const { condition } = hub;
  if (isLost(hub)) return [{ mood: 'bad', text: 'lost' }];
  const all: { mood: Mood; text: string }[] = [];
  if (hub.draining) all.push({ mood: 'warn', text: 'draining' });
  if (!condition) return [...all, { mood: 'warn', text: 'no report' }];
  if (condition.connections >= FULL * condition.maxConnections) all.push({ mood: 'bad', text: 'full' });
  if (Math.abs(condition.clockAheadMs) >= CLOCK_MS) all.push({ mood: 'warn', text: 'clock' });
  if (condition.alarms) all.push({ mood: hub.alarmedAt === null ? 'calm' : 'bad', text: count(condition.alarms, 'alarm') });
  return all;
}

export function mood(hub: HubNow): Mood {
  const all = troubles(hub).map((one) => one.mood);
  if (all.includes('bad')) return 'bad';
  return all.includes('warn') ? 'warn' : 'well';
}

export function moodWords(hub: HubNow): string {
  return troubles(hub).map(({ text }) => text).join(', ') || 'well';
}
