//! The HTTP client under the AWS SDK: hyper over our own connections, so that proxy, trust and
//! time limits are the same for API calls, credential providers and the WebSocket.

mod body;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_async::time::{SystemTimeSource, TimeSource as _};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::ErrorKind;
use aws_smithy_types::timeout::TimeoutConfig;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use url::Url;

use body::Bounded;

use super::clock::{self, Clock};
use super::dial::{Dial, DialError};
use super::error;
use super::proxy::Proxies;
use super::tls::Trust;

/// Idle connections are closed after this time, well before AWS would.
const IDLE: Duration = Duration::from_secs(15);

/// For clients that shall have the time limits of [`Http`] instead of the SDK's own (3.1 s to
/// connect).
pub(super) fn no_timeouts() -> TimeoutConfig {
    TimeoutConfig::disabled()
}

type Pool = Client<Dial, SdkBody>;

/// Makes connectors and keeps them by their time limits; cheap to clone.
#[derive(Clone)]
pub(super) struct Http(Arc<Inner>);

struct Inner {
    trust: Arc<Trust>,
    proxies: Arc<Proxies>,
    connect_timeout: Option<Duration>,
    read_timeout: Option<Duration>,
    clock: Clock,
    /// One pool for each connect time-out; there are two or three in a process.
    pools: Mutex<Vec<(Option<Duration>, Pool)>>,
}

impl Http {
    /// The time-outs hold where the SDK asks for none of its own; `None` is no limit.
    pub(super) fn new(
        trust: Arc<Trust>,
        proxies: Arc<Proxies>,
        connect_timeout: Option<Duration>,
        read_timeout: Option<Duration>,
    ) -> Self {
        Self(Arc::new(Inner {
            trust,
            proxies,
            connect_timeout,
            read_timeout,
            clock: Clock::default(),
            pools: Mutex::default(),
        }))
    }

    /// The time, as answers to signed calls have told it.
    pub(super) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    fn pool(&self, limit: Option<Duration>) -> Pool {
        let mut pools = self.0.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, pool)) = pools.iter().find(|(key, _)| *key == limit) {
            return pool.clone();
        }
        let dial = Dial::new(
            Arc::clone(&self.0.trust),
            Arc::clone(&self.0.proxies),
            limit,
        );
        let pool = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(dial);
        pools.push((limit, pool.clone()));
        pool
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}

impl Http {
    /// For calls that no SDK makes; the connections are shared.
    pub(super) fn connector(&self) -> SharedHttpConnector {
        self.connector_with(self.0.connect_timeout, self.0.read_timeout)
    }

    fn connector_with(
        &self,
        connect: Option<Duration>,
        read: Option<Duration>,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Connector {
            http: self.clone(),
            pool: self.pool(connect),
            connect,
            read,
        })
    }
}

impl HttpClient for Http {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        self.connector_with(
            settings.connect_timeout().or(self.0.connect_timeout),
            settings.read_timeout().or(self.0.read_timeout),
        )
    }
}

struct Connector {
    http: Http,
    pool: Pool,
    connect: Option<Duration>,
    read: Option<Duration>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into())));
            }
        };
        self.authorize_at_proxy(&mut request);
        let host = request.uri().host().unwrap_or_default().to_owned();
        let is_signed = request.headers().contains_key(http::header::AUTHORIZATION);
        let http = self.http.clone();
        let answer = self.pool.request(request);
        let (connect, read) = (self.connect, self.read);
        HttpConnectorFuture::new(async move {
            let begun = SystemTimeSource::new().now();
            let answer = match read {
                Some(read) => {
                    // Connecting may still be under way.
                    let limit = read.saturating_add(connect.unwrap_or_default());
                    let timeout = DialError::Timeout {
                        host: host.clone(),
                        what: "answer",
                        limit: read,
                    };
                    tokio::time::timeout(limit, answer)
                        .await
                        .map_err(|_| ConnectorError::timeout(Box::new(timeout)))?
                }
                None => answer.await,
            };
            let response = answer.map_err(classify)?;
            let date = response.headers().get(clock::DATE).filter(|_| is_signed);
            if let Some(date) = date.and_then(|date| date.to_str().ok()) {
                http.clock().learn(date, begun);
            }
            let bounded = |body| SdkBody::from_body_1_x(Bounded::new(body, host, read));
            HttpResponse::try_from(response.map(bounded))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

impl Connector {
    /// A proxy that forwards plain HTTP wants its password with each request; a tunnel got it in
    /// its CONNECT.
    fn authorize_at_proxy(&self, request: &mut http::Request<SdkBody>) {
        if request.uri().scheme_str() != Some("http") {
            return;
        }
        let proxy = Url::parse(&request.uri().to_string())
            .ok()
            .and_then(|url| self.http.0.proxies.for_url(&url).ok().flatten());
        if let Some(password) = proxy.as_ref().and_then(|proxy| proxy.basic_auth()) {
            request
                .headers_mut()
                .insert(http::header::PROXY_AUTHORIZATION, password.clone());
        }
    }
}

/// Tells the SDK's retries what is worth trying again.
fn classify(error: hyper_util::client::legacy::Error) -> ConnectorError {
    if let Some(dial) = error::find::<DialError>(&error) {
        return if dial.is_timeout() {
            ConnectorError::timeout(error.into())
        } else if dial.is_worth_retrying() {
            ConnectorError::io(error.into())
        } else {
            ConnectorError::other(error.into(), None)
        };
    }
    if error::find::<std::io::Error>(&error).is_some() {
        return ConnectorError::io(error.into());
    }
    // A connection that broke between request and answer; the calls made here bear repetition.
    ConnectorError::other(error.into(), Some(ErrorKind::TransientError))
}

#[cfg(test)]
mod tests;
