//! Events for the benchmarks: the made-up calls over and over, each time under a name of its own.

use anyhow::Context as _;

use crate::record::Timestamp;
use crate::simulation;

/// Many calls abreast, each of which speaks in its turn.
pub struct Load {
    /// Each call's events, as JSON without `{`, `call_id`, `seq` and `at`.
    calls: Vec<Vec<String>>,
    /// Name, call and next event of each open call.
    open: Vec<(String, usize, usize)>,
    turn: usize,
    begun: usize,
    /// Calls never end: their last event is left out, and they begin anew.
    endless: bool,
}

impl Load {
    pub fn of(abreast: usize, endless: bool) -> anyhow::Result<Self> {
        let mut calls: Vec<Vec<String>> = Vec::new();
        let mut last = String::new();
        for line in simulation::CALLS.lines().filter(|line| !line.is_empty()) {
            let mut event: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line)?;
            let id = event
                .remove("call_id")
                .context("a made-up event has a call_id")?
                .to_string();
            event.remove("seq");
            event.remove("at");
            if id != last {
                calls.push(Vec::new());
                last = id;
            }
            let text = serde_json::to_string(&event)?;
            calls.last_mut().context("just begun")?.push(text[1..].to_owned());
        }
        // A call that never ends is told by time alone, and time runs otherwise here.
        calls.retain(|call| call.last().is_some_and(|event| event.contains("\"call_ended\"")));
        if endless {
            calls.iter_mut().for_each(|call| drop(call.pop()));
        }
        let mut load = Self {
            calls,
            open: Vec::with_capacity(abreast),
            turn: 0,
            begun: 0,
            endless,
        };
        for _ in 0..abreast {
            let call = load.begin();
            load.open.push(call);
        }
        Ok(load)
    }

    fn begin(&mut self) -> (String, usize, usize) {
        let number = self.begun;
        self.begun += 1;
        (format!("bench-{number:08}"), number % self.calls.len(), 0)
    }

    /// The next event: key and value, as of this time.
    pub fn next(&mut self, at: i64) -> (String, Vec<u8>) {
        self.turn = (self.turn + 1) % self.open.len();
        let (id, call, place) = &mut self.open[self.turn];
        let events = &self.calls[*call];
        let line = format!(
            "{{\"call_id\":\"{id}\",\"seq\":{place},\"at\":\"{}\",{}",
            Timestamp::from_millis(at),
            events[*place % events.len()]
        );
        let key = id.clone();
        *place += 1;
        if *place == events.len() && !self.endless {
            self.open[self.turn] = self.begin();
        }
        (key, line.into_bytes())
    }
}
