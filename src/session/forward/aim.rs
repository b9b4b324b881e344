//! Which node a forward leads through. What the user calls a node may be another tomorrow: the
//! newest of an Auto Scaling group, the task of a service. So when a session is over, or there is
//! none to be had, the next one goes where the name leads by then.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use crate::aws;
use crate::channel::ConnectError;
use crate::session::SessionFailure;

/// Looks the node up; its id.
type Find = dyn Fn() -> BoxFuture<'static, Result<String, Astray>> + Send + Sync;

/// Why nobody knows the node.
#[derive(Debug, thiserror::Error)]
pub enum Astray {
    /// The service does not tell.
    #[error(transparent)]
    Aws(#[from] aws::Error),
    /// There is none, or more than one.
    #[error("{what}")]
    Nowhere {
        /// What there is not.
        what: String,
        /// What to do.
        hint: Option<String>,
        /// Whether it may be there by and by.
        passes: bool,
    },
}

impl From<Astray> for SessionFailure {
    fn from(astray: Astray) -> Self {
        match astray {
            Astray::Aws(error) => ConnectError::from(error).into(),
            Astray::Nowhere { what, hint, passes } => Self::Astray { what, hint, passes },
        }
    }
}

/// The node that is meant by a name. Clones share what is known of it.
#[derive(Clone)]
pub struct Aim(Arc<Inner>);

struct Inner {
    find: Box<Find>,
    known: Mutex<Known>,
}

struct Known {
    id: String,
    /// It may be another by now.
    doubted: bool,
}

impl fmt::Debug for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aim").finish_non_exhaustive()
    }
}

impl Aim {
    /// At the node of this id, until that is in doubt and `find` tells another.
    pub fn new(
        id: String,
        find: impl Fn() -> BoxFuture<'static, Result<String, Astray>> + Send + Sync + 'static,
    ) -> Self {
        let doubted = false;
        Self(Arc::new(Inner {
            find: Box::new(find),
            known: Mutex::new(Known { id, doubted }),
        }))
    }

    /// The id, looked up if it is in doubt: by one of those who ask, the others wait for that.
    /// Whether this has found another one.
    ///
    /// # Errors
    ///
    /// It is in doubt, and nothing is found.
    pub async fn target(&self) -> Result<(String, bool), SessionFailure> {
        let mut known = self.0.known.lock().await;
        let mut is_new = false;
        if known.doubted {
            let id = (self.0.find)().await?;
            is_new = id != known.id;
            known.id = id;
            known.doubted = false;
        }
        Ok((known.id.clone(), is_new))
    }

    /// The node may not be the one that is meant any more.
    pub async fn doubt(&self) {
        self.0.known.lock().await.doubted = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn a_node_is_looked_up_when_it_is_in_doubt_and_only_then() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let aim = Aim::new("i-0".to_owned(), move || {
            let count = counter.fetch_add(1, Ordering::Relaxed) + 1;
            Box::pin(async move {
                match count {
                    1 => Err(Astray::Nowhere {
                        what: "there is none".to_owned(),
                        hint: None,
                        passes: true,
                    }),
                    count => Ok(format!("i-{count}")),
                }
            })
        });
        assert_eq!(
            aim.target().await.expect("known"),
            ("i-0".to_owned(), false)
        );
        aim.doubt().await;
        assert!(aim.target().await.is_err());
        // Both ask; one look is enough.
        let again = aim.clone();
        let (one, two) = tokio::join!(aim.target(), again.target());
        assert_eq!(one.expect("found"), ("i-2".to_owned(), true));
        assert_eq!(two.expect("found"), ("i-2".to_owned(), false));
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }
}
