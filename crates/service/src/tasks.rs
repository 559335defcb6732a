//! Background tasks that run as long as their process.

use tokio::task::{JoinError, JoinSet};

/// Completes when one of the tasks panics. A process that goes on without one of its loops looks well and is not, so it had
/// better be started again. Tasks that come to an end by themselves are done.
pub async fn panicked(tasks: &mut JoinSet<()>) -> JoinError {
    loop {
        match tasks.join_next().await {
            Some(Err(error)) if error.is_panic() => return error,
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn only_a_panic_is_told() {
        let mut tasks = JoinSet::new();
        tasks.spawn(async {});
        tasks.spawn(std::future::pending());
        assert!(tokio::time::timeout(Duration::from_millis(50), panicked(&mut tasks)).await.is_err());
        tasks.spawn(async { panic!("a task of a test ends") });
        let error = tokio::time::timeout(Duration::from_secs(10), panicked(&mut tasks)).await.unwrap();
        assert!(error.is_panic());
    }
}
