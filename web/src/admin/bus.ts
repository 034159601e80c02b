// Topics that may have changed. The feed of events announces them, and views that listen ask the hub again.

/** `members`: a peer joined or left. `hubs`: a hub or a link changed. `bans`: an operator did something. `session`: a login has ended. */
export type Topic = 'members' | 'hubs' | 'bans' | 'session';

const heard = new Map<Topic, Set<() => void>>();

export const bus = {
  tell(topic: Topic) {
    heard.get(topic)?.forEach((listener) => listener());
  },

  /** Calls `listener` for this topic, until the caller calls the returned function. */
  on(topic: Topic, listener: () => void): () => void {
    const all = heard.get(topic) ?? new Set();
    heard.set(topic, all.add(listener));
    return () => all.delete(listener);
  },
};
