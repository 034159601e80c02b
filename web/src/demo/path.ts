// Which way a connection took, and why there is none, read from what the browser counted.

export type Kind = 'host' | 'reflexive' | 'relay';

export const KINDS: Record<Kind, string> = {
  host: 'Host to host: both sides reach each other by their own addresses.',
  reflexive: 'Reflexive: through a NAT, by an address that it gave to one side.',
  relay: 'Relay: a TURN server carries every packet.',
};

type Report = Record<string, unknown> & { id: string; type: string };

function reports(stats: RTCStatsReport): Report[] {
  const all: Report[] = [];
  stats.forEach((report) => all.push(report as Report));
  return all;
}

/** The kind of the pair in use; `null` while there is none. */
export async function pathOf(connection: RTCPeerConnection): Promise<Kind | null> {
  const all = reports(await connection.getStats());
  const byId = new Map(all.map((report) => [report.id, report]));
  const transport = all.find(({ type, selectedCandidatePairId }) => type === 'transport' && selectedCandidatePairId);
  const pair = transport
    ? byId.get(String(transport.selectedCandidatePairId))
    : // Firefox has no transports.
      all.find(({ type, selected }) => type === 'candidate-pair' && selected);
  if (!pair) return null;
  const ends = [pair.localCandidateId, pair.remoteCandidateId].map((id) => byId.get(String(id))?.candidateType);
  if (ends.includes('relay')) return 'relay';
  return ends.includes('srflx') || ends.includes('prflx') ? 'reflexive' : 'host';
}

export interface Findings {
  /** Whether the hub named a TURN server. */
  turn: boolean;
  /** Whether that server gave this side a relay. */
  relayed: boolean;
  /** Whether an address of the other side arrived. */
  heard: boolean;
  /** What the browser said of STUN and TURN servers that did not serve it. */
  serverErrors: string[];
}

/** Why no path was found, in words. */
export function whyNoPath({ turn, relayed, heard, serverErrors }: Findings): string {
  const errors = serverErrors.length ? ` The browser says: ${serverErrors.join('; ')}.` : '';
  if (!heard) {
    return 'No address of the other side arrived through the mesh, so there was nothing to try: it has gone, or found none.';
  }
  if (!turn) {
    return (
      'No direct path was found between the two sides, and this hub named no TURN server that could relay: it has none ' +
      `(TURN_URLS, TURN_PORT), or no place for a relay more. A NAT or a firewall is in between.${errors}`
    );
  }
  if (!relayed) {
    return (
      'No direct path was found, and the TURN server of this hub gave this side no relay: it cannot be reached from ' +
      `here, or refused the credentials.${errors}`
    );
  }
  return `No path was found, not even through the TURN server, which gave this side a relay. Look at the other side.${errors}`;
}
