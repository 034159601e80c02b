// Which of what is shown may have changed: told by the feed of events, heard by what asks for it.

/** `members`: somebody came or went. `hubs`: a hub or a link did. `bans`: operators did something. `session`: a login is over. */
export type Topic = 'members' | 'hubs' | 'bans' | 'session';

const heard = new Map<Topic, Set<() => void>>();

export const bus = {
  tell(topic: Topic) {
    heard.get(topic)?.forEach((listener) => listener());
  },

  /** Gives back what ends it. */
  on(topic: Topic, listener: () => void): () => void {
    const all = heard.get(topic) ?? new Set();
    heard.set(topic, all.add(listener));
    return () => all.delete(listener);
  },
};
