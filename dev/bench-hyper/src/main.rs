//! hyper as an HTTP server on one thread, to compare with: the same answers as dev/xtask/bench/http.janet.
//!
//! `/` is "hello, world", `/1k` and `/1m` are a body of that size from memory, and `/up` is the length of the request's
//! body. The server ends when its standard input does. Usage: bench-hyper PORT

use std::convert::Infallible;
use std::error::Error;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpSocket;

const BACKLOG: u32 = 4096;

/// The bodies that are not made for each request.
#[derive(Clone)]
struct Bodies {
    kilobyte: Bytes,
    megabyte: Bytes,
}

fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = std::env::args().nth(1).ok_or("usage: bench-hyper PORT")?.parse()?;
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(serve(port))
}

async fn serve(port: u16) -> Result<(), Box<dyn Error>> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let listener = socket.listen(BACKLOG)?;
    let bodies = Bodies { kilobyte: vec![b'x'; 1024].into(), megabyte: vec![b'x'; 1024 * 1024].into() };
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async move {
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let bodies = bodies.clone();
                tokio::task::spawn_local(async move {
                    let service = service_fn(move |request| answer(request, bodies.clone()));
                    // An error is a client's, such as a reset.
                    let _ = http1::Builder::new()
                        .pipeline_flush(true)
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        })
        .await
}

async fn answer(request: Request<Incoming>, bodies: Bodies) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = match request.uri().path() {
        "/1k" => bodies.kilobyte,
        "/1m" => bodies.megabyte,
        "/up" => match request.into_body().collect().await {
            Ok(body) => body.to_bytes().len().to_string().into(),
            Err(_) => {
                let mut response = Response::new(Full::default());
                *response.status_mut() = StatusCode::BAD_REQUEST;
                return Ok(response);
            }
        },
        _ => Bytes::from_static(b"hello, world"),
    };
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}
