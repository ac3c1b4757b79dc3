//! Somebody who comes and goes while a leader refuses everybody: an attack on logins is none without them.

use tokio::task::JoinHandle;

use crate::attack::Kind;
use crate::desk::Mode;
use crate::stage::Stage;

/// How often he comes at most during one attack.
const VISITS_MAX: u32 = 12;

/// Dan.
#[derive(Default)]
pub struct Visitor {
    is: Is,
    visits: u32,
}

#[derive(Default)]
enum Is {
    #[default]
    Away,
    Coming,
    In,
    Leaving(JoinHandle<anyhow::Result<()>>),
}

impl Visitor {
    /// His name.
    pub const NAME: &str = "dan";

    /// What he does next; true if he wants to join now.
    pub fn wants_in(&mut self, stage: &mut Stage) -> bool {
        let denied = stage.desk.look(|state| {
            let caught = state.caught.contains_key("bad-evaluation");
            !caught && state.leaders.iter().any(|l| l.mode == Mode::Hacked(Kind::Deny))
        });
        if !denied {
            self.visits = 0;
        }
        match &self.is {
            Is::Away if denied && self.visits < VISITS_MAX && !stage.present().contains(Self::NAME) => {
                self.visits += 1;
                self.is = Is::Coming;
                return true;
            }
            Is::In => self.is = stage.begin_leave(Self::NAME).map_or(Is::Away, Is::Leaving),
            Is::Leaving(leaving) if leaving.is_finished() => self.is = Is::Away,
            Is::Away | Is::Coming | Is::Leaving(_) => {}
        }
        false
    }

    /// Somebody has come in, or failed to.
    pub fn came(&mut self, name: &str, is_in: bool) {
        if name == Self::NAME && matches!(self.is, Is::Coming) {
            self.is = if is_in { Is::In } else { Is::Away };
        }
    }
}
