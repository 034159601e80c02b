// The actions of operators: remove a peer, place a ban, lift a ban. Each asks for a confirmation first.
import { useState } from 'preact/hooks';

import { plain } from '../words';
import { BAN_KINDS, lift, place, remove, type Ban, type BanKind, type Member } from './api';
import { bus } from './bus';
import { Dialog } from './dialog';

export type Wish =
  | { what: 'remove'; member: Member }
  | { what: 'ban'; kind: BanKind; value: string; member: Member | null }
  | { what: 'lift'; ban: Ban };

interface Props {
  wish: Wish;
  close: () => void;
  /** Shows these words about an action that is done. */
  done: (words: string) => void;
}

export function Steering(props: Props) {
  switch (props.wish.what) {
    case 'remove':
      return <Remove {...props} member={props.wish.member} />;
    case 'ban':
      return <PlaceBan {...props} first={props.wish} />;
    case 'lift':
      return <Lift {...props} ban={props.wish.ban} />;
  }
}

function told(words: string, done: (words: string) => void) {
  bus.tell('members');
  bus.tell('bans');
  done(words);
}

function Whom({ id, dialect, network }: Member) {
  return (
    <p>
      <strong class="id">{plain(id)}</strong> in the network <strong class="id">{plain(network)}</strong> ({dialect})
    </p>
  );
}

function Remove({ member, close, done }: Props & { member: Member }) {
  const act = async () => {
    await remove(member);
    told(`${plain(member.id)} is removed.`, done);
  };
  return (
    <Dialog title="Remove this peer?" yes="Remove" act={act} close={close}>
      <Whom {...member} />
      <p class="soft">The connection is closed, at whichever hub it is. The peer may connect again; only a ban keeps it out.</p>
    </Dialog>
  );
}

function Lift({ ban, close, done }: Props & { ban: Ban }) {
  const act = async () => {
    await lift(ban.ban);
    told(`The ban on ${plain(ban.value)} is lifted.`, done);
  };
  return (
    <Dialog title="Lift this ban?" yes="Lift" act={act} close={close}>
      <p>
        {KINDS[ban.kind]} <strong class="id">{plain(ban.value)}</strong> may connect again on every hub.
      </p>
    </Dialog>
  );
}

const KINDS: Record<BanKind, string> = { id: 'Id', subject: 'Subject', address: 'Address', block: 'Block of addresses' };
const HINTS: Record<BanKind, string> = { id: 'the id of a peer', subject: 'sub of a JWT', address: '203.0.113.7', block: '203.0.113.0/24' };

/** The longest reason that a hub accepts. */
const REASON_BYTES = 200;

/** Cuts a reason to the bytes that a hub accepts. One letter may have four bytes. */
function clipped(reason: string): string {
  const bytes = new Uint8Array(REASON_BYTES);
  const { read } = new TextEncoder().encodeInto(reason, bytes);
  return reason.slice(0, read);
}

const SPANS: [string, number][] = [
  ['10 minutes', 600],
  ['1 hour', 3_600],
  ['1 day', 86_400],
  ['1 week', 604_800],
  ['30 days', 2_592_000],
  ['1 year', 31_536_000],
];

function PlaceBan({ first, close, done }: Props & { first: Wish & { what: 'ban' } }) {
  const { member } = first;
  const [kind, setKind] = useState(first.kind);
  const [value, setValue] = useState(first.value);
  const [isHereAlone, setHereAlone] = useState(member !== null);
  const [reason, setReason] = useState('');
  const [seconds, setSeconds] = useState(86_400);
  const act = async () => {
    const bound = kind === 'id' && member && isHereAlone ? { dialect: member.dialect, network: member.network } : {};
    await place({ kind, value, seconds, ...bound, ...(reason && { reason }) });
    told(`${KINDS[kind]} ${plain(value)} is banned.`, done);
  };
  return (
    <Dialog title="Ban" yes="Ban" act={act} close={close}>
      <label class="row">
        <span>What</span>
        <select value={kind} onChange={(event) => setKind(event.currentTarget.value as BanKind)}>
          {BAN_KINDS.map((one) => (
            <option key={one} value={one}>
              {KINDS[one]}
            </option>
          ))}
        </select>
      </label>
      <label class="row">
        <span>{KINDS[kind]}</span>
        <input required value={value} placeholder={HINTS[kind]} spellcheck={false} autocomplete="off" onInput={(event) => setValue(event.currentTarget.value)} />
      </label>
      {kind === 'id' && member && (
        <label class="check">
          <input type="checkbox" checked={isHereAlone} onChange={(event) => setHereAlone(event.currentTarget.checked)} />
          <span>
            In the network <span class="id">{plain(member.network)}</span> ({member.dialect}) alone
          </span>
        </label>
      )}
      <label class="row">
        <span>Reason, for operators</span>
        <input value={reason} maxLength={REASON_BYTES} autocomplete="off" onInput={(event) => setReason(clipped(event.currentTarget.value))} />
      </label>
      <label class="row">
        <span>For</span>
        <select value={seconds} onChange={(event) => setSeconds(Number(event.currentTarget.value))}>
          {SPANS.map(([name, span]) => (
            <option key={span} value={span}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <p class="soft">The ban counts on every hub, also on hubs that join the mesh later. Hubs close connections that are banned.</p>
    </Dialog>
  );
}
