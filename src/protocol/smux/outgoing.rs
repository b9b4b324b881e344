//! What is to be sent, stream by stream in turn.

use bytes::{Bytes, BytesMut};

use super::frame::{Command, HEADER_LEN, Header};
use super::streams::{Event, OUT_A_STREAM, OUT_IN_ALL, Sending, Streams};

impl Streams {
    /// How many bytes may be written to a stream now. After 0 an [`Event::Writable`] follows.
    pub fn room(&mut self, id: u32) -> usize {
        let one_frame = usize::from(self.config.max_frame);
        let crowded = self.out_bytes >= OUT_IN_ALL;
        let Some(stream) = self.streams.get_mut(&id).filter(|s| s.is_open()) else {
            return 0;
        };
        let bound = if crowded { one_frame } else { OUT_A_STREAM };
        let room = bound.saturating_sub(stream.outgoing.len());
        if room == 0 && !std::mem::replace(&mut stream.wants_room, true) {
            self.waiting.push_back(id);
        }
        room
    }

    /// Queues data, whether there is room or not.
    pub fn write(&mut self, id: u32, data: &[u8]) {
        let Some(stream) = self.streams.get_mut(&id).filter(|s| s.is_open()) else {
            return;
        };
        if data.is_empty() {
            return;
        }
        stream.outgoing.push(data);
        self.out_bytes += data.len();
        self.enqueue(id);
    }

    /// Sends FIN behind what is queued.
    pub fn finish(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id).filter(|s| s.is_open()) {
            stream.sending = Sending::Finishing;
            self.enqueue(id);
        }
    }

    /// Whole frames for the carrier, at most about `limit` bytes of them; `None` if there is
    /// nothing to send.
    pub fn poll_transmit(&mut self, limit: usize) -> Option<Bytes> {
        if !self.has_output() {
            return None;
        }
        let mut out = BytesMut::with_capacity(limit.min(self.out_bytes + 64 * HEADER_LEN));
        if std::mem::take(&mut self.nop_due) {
            out.extend_from_slice(&Header::bare(Command::Nop, 0).encode());
        }
        while out.len() < limit {
            if let Some(id) = self.refusals.pop_front() {
                out.extend_from_slice(&Header::bare(Command::Fin, id).encode());
            } else if let Some(id) = self.ready.pop_front() {
                self.transmit_turn(id, &mut out);
            } else {
                break;
            }
        }
        self.tell_room();
        Some(out.freeze())
    }

    /// One stream's turn: a frame of data, with what goes before and behind it.
    fn transmit_turn(&mut self, id: u32, out: &mut BytesMut) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.queued = false;
        if !std::mem::replace(&mut stream.opened, true) {
            out.extend_from_slice(&Header::bare(Command::Syn, id).encode());
        }
        let length = u16::try_from(stream.outgoing.len())
            .unwrap_or(u16::MAX)
            .min(self.config.max_frame);
        if length > 0 {
            let header = Header {
                command: Command::Psh,
                length,
                stream: id,
            };
            out.extend_from_slice(&header.encode());
            stream.outgoing.move_to(out, length.into());
            self.out_bytes -= usize::from(length);
        }
        if !stream.outgoing.is_empty() {
            stream.queued = true;
            self.ready.push_back(id);
        } else if stream.sending == Sending::Finishing {
            stream.sending = Sending::Finished;
            out.extend_from_slice(&Header::bare(Command::Fin, id).encode());
            self.forget_if_over(id);
        }
    }

    fn enqueue(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !std::mem::replace(&mut stream.queued, true)
        {
            self.ready.push_back(id);
        }
    }

    /// Wakes writers once there is room worth waking them for.
    fn tell_room(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let crowded = self.out_bytes >= OUT_IN_ALL;
        let Self {
            streams,
            waiting,
            events,
            ..
        } = self;
        waiting.retain(|id| {
            let Some(stream) = streams.get_mut(id) else {
                return false;
            };
            let queued = stream.outgoing.len();
            let wake = queued == 0 || (!crowded && queued <= OUT_A_STREAM / 2);
            if wake {
                stream.wants_room = false;
                events.push_back(Event::Writable(*id));
            }
            !wake
        });
    }
}
