//! Single key presses of a terminal.

use std::io::{self, IsTerminal, Read};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::mpsc;

/// Key presses while this lives; afterwards the terminal is as it was.
pub(crate) struct Keys {
    before: Option<Termios>,
    pressed: mpsc::Receiver<u8>,
}

impl Keys {
    /// Listens to standard input, if that is a terminal.
    pub(crate) fn listen() -> Keys {
        let (sender, pressed) = mpsc::channel(16);
        let before = if io::stdin().is_terminal() { unbuffered().ok() } else { None };
        if before.is_some() {
            // Blocked in read until the process ends, which a thread of the standard library does not delay.
            std::thread::spawn(move || {
                for key in io::stdin().lock().bytes() {
                    let Ok(key) = key else { return };
                    if sender.blocking_send(key).is_err() {
                        return;
                    }
                }
            });
        }
        Keys { before, pressed }
    }

    /// Whether there is a terminal at all.
    pub(crate) fn exist(&self) -> bool {
        self.before.is_some()
    }

    /// The next key; never completes without a terminal.
    pub(crate) async fn next(&mut self) -> u8 {
        match self.pressed.recv().await {
            Some(key) => key,
            None => std::future::pending().await,
        }
    }
}

/// Delivers each key at once and shows none. Ctrl-C stays a signal.
fn unbuffered() -> io::Result<Termios> {
    let before = tcgetattr(io::stdin())?;
    let mut modes = before.clone();
    modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
    tcsetattr(io::stdin(), OptionalActions::Now, &modes)?;
    Ok(before)
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // Nobody is left to tell.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}
