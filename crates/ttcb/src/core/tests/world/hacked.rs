//! A component in an attacker's hands: it has all keys of one, and says what it likes.

use rand_chacha::rand_core::Rng;

use super::{Event, World};
use crate::core::frame::{Body, ClockWord, Header, Proposals, Record};
use crate::core::ids::{COMPONENTS_MAX, Decision, Epoch, Index, Mask};
use crate::core::peers::{key_of, nonce};

impl World {
    /// Its component is replaced by one that sends each other one so many frames of nonsense, well sealed.
    pub fn hack(&mut self, hacked: Index, frames: u64) {
        self.end(hacked);
        let epoch = Epoch(self.hosts[hacked.place()].epoch + 1);
        self.hosts[hacked.place()].epoch += 1;
        for number in 1..=frames {
            self.run_for(1);
            for to in self.group.indices().filter(|to| *to != hacked).collect::<Vec<_>>() {
                let body = self.nonsense(to);
                let header = Header { from: hacked, to, epoch, boot: [0x66; 16], number };
                let exchange = &self.secrets[hacked.place()].exchange;
                let public = &self.group.member(to).unwrap().exchange;
                let base = exchange.agree(public, "ttcb control", &[self.group.id()]).unwrap();
                let key = key_of(&base, hacked, to, epoch, &[0x66; 16]);
                let sealed = key.seal(&nonce(number), &header.encode(), &body.encode());
                let frame = [&header.encode()[..], &sealed].concat();
                self.at(10, Event::Deliver(to, frame));
            }
        }
    }

    fn nonsense(&mut self, to: Index) -> Body {
        let heard = self.heads.get(&to.get()).copied();
        let (echo_epoch, echo_boot) = heard.map(|header| (header.epoch, header.boot)).unwrap_or_default();
        let local_us = crate::core::micros(self.local(to));
        let group_us = self.group_us().unwrap_or_default();
        let mut any = |common: u64| match self.rng.next_u64() % 8 {
            0 => 0,
            1 => u64::MAX,
            2 => self.rng.next_u64(),
            3 => i64::MAX as u64,
            4 => common.saturating_add(3_600_000_000),
            5 => common.saturating_sub(3_600_000_000),
            _ => common,
        };
        let clock = ClockWord {
            sent_us: any(local_us),
            group_us: any(group_us),
            steady: any(0) > 0,
            echo_us: any(local_us.saturating_sub(300)),
            held_us: any(100),
        };
        let records = [(); 2].map(|()| {
            let mut epochs = [Epoch::default(); COMPONENTS_MAX];
            for (epoch, host) in epochs.iter_mut().zip(&self.hosts) {
                *epoch = Epoch(host.epoch);
            }
            let listed: Mask = self.group.indices().collect();
            let mut proposals = Proposals::default();
            for index in listed.iter() {
                if any(1) == 1 {
                    proposals.insert(index, [any(7) as u8; 32]);
                }
            }
            let promised = any(33) as u32;
            Some(Record {
                tag: [any(u64::from(to.get())).to_le_bytes(), any(1).to_le_bytes()].concat().try_into().unwrap(),
                listed,
                decision: Decision::Equality,
                start_us: any(group_us + 100_000),
                epochs,
                promised,
                accepted: promised.min(any(17) as u32),
                decided: any(0) > 0,
                proposals,
            })
        });
        Body { echo_epoch, echo_boot, clock, records }
    }

    /// Agreements that a component has open.
    pub fn open_agreements(&self, index: Index) -> usize {
        self.hosts[index.place()].component.as_ref().unwrap().agreements.count()
    }
}
