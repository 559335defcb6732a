//! Which of several coordinators acts (`--leader-elect`). All of them discover, read the shards and plan; only
//! the leader carries anything out. So a standby has nothing to learn when it takes over, and its API shows
//! the same fleet.
//!
//! Nothing here trusts a task to be on time: leadership carries its own end ([`Term::holds`]), and a write
//! that is under way when it ends is dropped ([`Term::carry_out`]).

mod candidate;
mod election;

use tokio::{sync::watch, time::Instant};

pub(crate) use candidate::Candidate;

/// Whether this coordinator leads, and who does. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Leadership {
    state: watch::Receiver<State>,
}

#[derive(Clone, Debug, PartialEq)]
struct State {
    /// Counts how often this coordinator began to lead.
    number: u64,
    until: Until,
    holder: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Until {
    /// Nobody else is expected: there is no election.
    Forever,
    At(Instant),
    /// It does not lead.
    Past,
}

impl Leadership {
    /// Without an election: it leads from the start.
    pub(crate) fn alone() -> Self {
        Leadership { state: watch::channel(State { number: 0, until: Until::Forever, holder: None }).1 }
    }

    fn elected() -> (watch::Sender<State>, Self) {
        let (sender, state) = watch::channel(State { number: 0, until: Until::Past, holder: None });
        (sender, Leadership { state })
    }

    /// The current term of office, if this coordinator leads.
    pub(crate) fn term(&self) -> Option<Term> {
        let term = Term { leadership: self.clone(), number: self.state.borrow().number };
        term.holds().then_some(term)
    }

    /// Whether this coordinator leads.
    pub(crate) fn leads(&self) -> bool {
        self.term().is_some()
    }

    /// Who holds the Lease, as last seen; `None` without an election, and while nobody does.
    pub(crate) fn holder(&self) -> Option<String> {
        self.state.borrow().holder.clone()
    }
}

/// An uninterrupted time of leading. What was planned in one term must not be carried out in another:
/// somebody else may have acted in between.
#[derive(Clone, Debug)]
pub(crate) struct Term {
    leadership: Leadership,
    number: u64,
}

impl Term {
    /// Whether it is still this term.
    pub(crate) fn holds(&self) -> bool {
        let state = self.leadership.state.borrow();
        let leads = match state.until {
            Until::Forever => true,
            Until::At(until) => Instant::now() < until,
            Until::Past => false,
        };
        leads && state.number == self.number
    }

    /// Tells two terms apart.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Carries out a write while the term lasts: `None` if it had ended, or ended before the answer came.
    pub(crate) async fn carry_out<T>(&self, write: impl Future<Output = T>) -> Option<T> {
        if !self.holds() {
            return None;
        }
        tokio::select! {
            biased;
            () = self.end() => None,
            result = write => Some(result),
        }
    }

    async fn end(&self) {
        let mut state = self.leadership.state.clone();
        while self.holds() {
            let until = match state.borrow_and_update().until {
                Until::At(until) => Some(until),
                Until::Forever | Until::Past => None,
            };
            let passes = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = passes => {}
                changed = state.changed() => if changed.is_err() {
                    // Nobody will tell any more: what is known now stays.
                    match until {
                        Some(until) => tokio::time::sleep_until(until).await,
                        None => std::future::pending().await,
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn lead(sender: &watch::Sender<State>, number: u64, millis: u64) {
        let until = Until::At(Instant::now() + Duration::from_millis(millis));
        sender.send_replace(State { number, until, holder: None });
    }

    #[tokio::test]
    async fn a_term_ends_by_itself_and_takes_its_writes_along() {
        let (sender, leadership) = Leadership::elected();
        assert!(!leadership.leads());
        lead(&sender, 1, 200);
        let term = leadership.term().unwrap();
        assert_eq!(term.carry_out(async { 7 }).await, Some(7));
        let start = Instant::now();
        assert_eq!(term.carry_out(std::future::pending::<()>()).await, None);
        assert!((150..2000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
        assert!(!term.holds());
        assert_eq!(term.carry_out(async { 7 }).await, None, "not even begun");
    }

    #[tokio::test]
    async fn a_renewal_extends_it_and_another_term_does_not() {
        let (sender, leadership) = Leadership::elected();
        lead(&sender, 1, 200);
        let term = leadership.term().unwrap();
        let write = term.carry_out(tokio::time::sleep(Duration::from_millis(400)));
        let renew = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            lead(&sender, 1, 60_000);
        };
        assert_eq!(tokio::join!(write, renew).0, Some(()));
        lead(&sender, 2, 60_000);
        assert!(!term.holds() && leadership.leads());
    }

    #[tokio::test]
    async fn losing_it_ends_a_write_at_once() {
        let (sender, leadership) = Leadership::elected();
        lead(&sender, 1, 60_000);
        let term = leadership.term().unwrap();
        let start = Instant::now();
        let lose = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            sender.send_replace(State { number: 1, until: Until::Past, holder: Some("b".to_owned()) });
        };
        assert_eq!(tokio::join!(term.carry_out(std::future::pending::<()>()), lose).0, None);
        assert!(start.elapsed() < Duration::from_secs(2));
        assert_eq!(leadership.holder().as_deref(), Some("b"));
    }

    #[tokio::test]
    async fn alone_it_leads_for_ever() {
        let leadership = Leadership::alone();
        let term = leadership.term().unwrap();
        assert_eq!(term.carry_out(tokio::time::sleep(Duration::from_millis(20))).await, Some(()));
        assert!(term.holds() && leadership.holder().is_none());
    }
}
