//! What a session counts, told in batches: telling takes a lock.

use super::super::fault::Tally;
use super::Session;

/// What has happened since the state was last told.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) to_client: u64,
    pub(super) to_agent: u64,
    pub(super) refused: u64,
    pub(super) pings: u64,
}

impl Session {
    /// Adds what happened to the statistics.
    pub(super) fn tell(&mut self) {
        let mut faults = self.to_client.take_tally();
        faults += self.to_agent.take_tally();
        let Counters {
            to_client,
            to_agent,
            refused,
            pings,
        } = std::mem::take(&mut self.counters);
        if to_client + to_agent + refused + pings == 0 && faults == Tally::default() {
            return;
        }
        self.shared.change(|state| {
            state.stats.messages_to_client += to_client;
            state.stats.messages_to_agent += to_agent;
            state.stats.refused_by_agent += refused;
            state.stats.pings += pings;
            state.stats.add_faults(faults);
        });
    }
}
