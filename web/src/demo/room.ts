// The names of rooms, and how they travel in a link. A token never does.

const LETTERS = 'abcdefghjkmnpqrstuvwxyz23456789';
const SHAPE = /^[a-z0-9]{4,32}$/;

/** 12 letters that nobody mixes up, of 31: nobody guesses a room. */
export function freshRoom(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => LETTERS[byte % LETTERS.length]).join('');
}

export function roomLink(room: string, origin = location.origin): string {
  return `${origin}/#room=${room}`;
}

/** The room that a link, or what somebody typed, names. */
export function roomOf(text: string): string | null {
  const name = (text.split('#room=').at(-1) ?? '').trim().toLowerCase();
  return SHAPE.test(name) ? name : null;
}

/** The room that the page was opened for. */
export function roomOfPage(): string | null {
  return location.hash.startsWith('#room=') ? roomOf(location.hash) : null;
}
