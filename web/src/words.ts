// Numbers and ids as people read them.

export function count(number: number, one: string, many = `${one}s`): string {
  return `${number.toLocaleString('en')} ${number === 1 ? one : many}`;
}

export function span(ms: number): string {
  const seconds = Math.floor(ms / 1_000);
  const [days, hours, minutes] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3_600) % 24, Math.floor(seconds / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

export function millis(ms: number): string {
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

/** Enough of an id to tell hubs apart. */
export function short(id: string): string {
  return id.slice(0, 8);
}

/** A hub by its id, and its region where it has one. */
export function hubName(id: string | null, region: string): string {
  const name = id ? `hub ${short(id)}` : 'a lone server';
  return region ? `${name} (${region})` : name;
}

/** The web address of a hub that tells where it is reached, as far as a browser may follow it. */
export function webOrigin(url: string | null): string | null {
  // Older browsers have no URL.canParse.
  try {
    const { protocol, host } = new URL(url ?? '');
    const scheme = { 'ws:': 'http', 'wss:': 'https' }[protocol];
    return scheme ? `${scheme}://${host}` : null;
  } catch {
    return null;
  }
}
