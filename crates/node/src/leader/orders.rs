//! What the operator left in the leader's inbox.

use ringfort_protocol::leader::{Command, Step};
use ringfort_protocol::{Cx, Rejected};
use tracing::warn;

use super::driver::Driver;
use super::{LeaderError, Told};
use crate::folder::{OperatorRequest, read_requests};

impl Driver {
    /// Does what the operator left in the inbox; a request is deleted once its outcome is durable.
    pub fn on_inbox(&mut self, cx: &mut Cx<'_>, observe: &mut impl FnMut(&Told<'_>)) -> Result<(), LeaderError> {
        let inbox = match read_requests(&self.folder) {
            Ok(inbox) => inbox,
            Err(error) => {
                warn!(%error, "the operator's inbox cannot be read");
                return Ok(());
            }
        };
        for error in &inbox.refused {
            warn!(%error, "a file in the operator's inbox was refused");
            observe(&Told::OrderUnreadable(error));
        }
        for waiting in inbox.waiting {
            let young = cx.now.since_start().min(waiting.age()) < self.order_patience;
            let outcome = match self.on_request(cx, waiting.request.clone()) {
                Err(Rejected::NotAMember(_) | Rejected::OtherSession { .. }) if young => continue,
                // After so long the others know no more of the user than this one.
                Err(Rejected::NotAMember(user)) => self.core.on_command(cx, Command::Revoke(user)),
                outcome => outcome,
            };
            let step = match outcome {
                Err(error) => {
                    warn!(%error, "operator's request rejected");
                    observe(&Told::Order(&waiting.request, Err(&error)));
                    None
                }
                Ok(step) => Some(step),
            };
            if let Some(step) = step {
                self.carry_out(vec![step.into()], observe)?;
                observe(&Told::Order(&waiting.request, Ok(())));
            }
            if let Err(error) = waiting.done() {
                warn!(%error, "a request of the operator stays in the inbox");
            }
        }
        Ok(())
    }

    fn on_request(&mut self, cx: &mut Cx<'_>, request: OperatorRequest) -> Result<Step, Rejected> {
        let command = match request {
            OperatorRequest::Accept(record) => Command::Enrol(record),
            OperatorRequest::Replace(record) => Command::Replace(record),
            OperatorRequest::Expel(user) => Command::Expel(user),
            OperatorRequest::Refresh => Command::Refresh,
            OperatorRequest::Session(order) => Command::Session(order),
            OperatorRequest::Renew(order) => return self.on_renewal_order(cx, order),
        };
        self.core.on_command(cx, command)
    }
}
