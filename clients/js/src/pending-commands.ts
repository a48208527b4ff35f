// Commands without an answer. A command is sent again with the same id on each connection until it is answered.
import { CommandRefused, type SyncKairosError } from "./errors.js";
import type { AckMessage, CommandMessage, ErrorMessage, ReceiptView, WarningView } from "./generated/schemas.js";

/** Maximum number of commands that were sent and have no answer. Further commands wait. */
const MAX_SENT = 256;

/** The answer to an accepted command. */
export interface Ack {
  commandId: string;
  /** The session's version after the command. */
  version: number;
  epoch: string;
  /** The participant whose time ran out, so that the command had no effect. Absent if the command took effect. */
  expiredParticipantId?: string;
  /** The charge of the turn that a switch ended, in sessions with lag compensation. */
  lagReceipt?: ReceiptView;
  /** The arguments that have no effect. */
  warnings: readonly WarningView[];
}

interface Pending {
  message: CommandMessage;
  isSent: boolean;
  resolve: (ack: Ack) => void;
  reject: (error: Error) => void;
}

/** The commands that have no answer yet, in the order in which they were added. */
export class PendingCommands {
  readonly #pending = new Map<string, Pending>();

  /** Add a command and return its answer. Rejects with CommandRefused. Throws if the id is already pending. */
  add(message: CommandMessage): Promise<Ack> {
    if (this.#pending.has(message.id)) throw new TypeError(`command ${message.id} is already pending`);
    return new Promise((resolve, reject) => {
      this.#pending.set(message.id, { message, isSent: false, resolve, reject });
    });
  }

  /** Send the commands that were not sent yet, as far as the limit allows. */
  sendWaiting(send: (message: CommandMessage) => void): void {
    let sent = [...this.#pending.values()].filter((each) => each.isSent).length;
    for (const each of this.#pending.values()) {
      if (sent >= MAX_SENT) return;
      if (each.isSent) continue;
      each.isSent = true;
      sent += 1;
      send(each.message);
    }
  }

  /** Note that the connection ended, so that all commands must be sent again. */
  connectionEnded(): void {
    for (const each of this.#pending.values()) each.isSent = false;
  }

  /** Reject a command whose caller no longer waits. The outcome of the command stays unknown. */
  abandon(commandId: string, reason: Error): void {
    this.#take(commandId)?.reject(reason);
  }

  /** Settle the command that a message answers. Return false if no pending command has its id. */
  settle(message: AckMessage | ErrorMessage): boolean {
    const pending = this.#take(message.reply_to);
    if (!pending) return false;
    if (message.type === "ACK") pending.resolve(ackOf(message));
    else pending.reject(new CommandRefused(message.code, message.message, message.details, pending.message.id));
    return true;
  }

  /** Reject all commands. */
  failAll(error: SyncKairosError): void {
    for (const id of [...this.#pending.keys()]) this.abandon(id, error);
  }

  #take(commandId: string | undefined): Pending | undefined {
    const pending = this.#pending.get(commandId ?? "");
    if (pending) this.#pending.delete(pending.message.id);
    return pending;
  }
}

function ackOf(message: AckMessage): Ack {
  const ack: Ack = {
    commandId: message.reply_to,
    version: message.version ?? 0,
    epoch: message.epoch ?? "",
    warnings: message.warnings ?? [],
  };
  if (message.expired_participant_id !== undefined) ack.expiredParticipantId = message.expired_participant_id;
  if (message.lag_receipt !== undefined) ack.lagReceipt = message.lag_receipt;
  return ack;
}
