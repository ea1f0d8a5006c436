//! A TCP proxy before each broker that knows where a request of Kafka's protocol begins and what it asks for: enough to
//! cut, to delay, and to lose a single answer.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Requests by their keys in the protocol.
pub const TXN_OFFSET_COMMIT: i16 = 28;
pub const END_TXN: i16 = 26;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    Pass,
    /// Connections break, and new ones too.
    Cut,
    /// Requests reach the broker, answers do not come back.
    AnswersLost,
    /// Every frame takes so much longer, up to as much again by chance; so many of a thousand break the connection.
    Slow {
        millis: u64,
        resets: u32,
    },
    /// The broker does what this request asks for; instead of its answer the connection breaks.
    Swallow {
        key: i16,
    },
    /// This request reaches the broker so much later; everything behind it waits.
    Hold {
        key: i16,
        millis: u64,
    },
    /// The connection breaks before this request has arrived, so that the client sends it again; the first arrives so much
    /// later all the same, by a way of its own. Not more often than once in a second and a half.
    Late {
        key: i16,
        millis: u64,
    },
}

const BETWEEN_LATE: Duration = Duration::from_millis(1_500);

struct Shared {
    mode: Mutex<Mode>,
    /// Where the broker listens.
    behind: OnceLock<String>,
    /// Both ends of each connection, by its number.
    open: Mutex<HashMap<usize, [TcpStream; 2]>>,
    connections: AtomicUsize,
    /// Requests that were swallowed, held or late.
    hits: AtomicUsize,
    last_late: Mutex<Option<Instant>>,
    random: Mutex<StdRng>,
}

#[derive(Clone)]
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Listens at once; connections wait until it is told what is behind it.
    pub fn listen(seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            shared: Arc::new(Shared {
                mode: Mutex::new(Mode::Pass),
                behind: OnceLock::new(),
                open: Mutex::default(),
                connections: AtomicUsize::new(0),
                hits: AtomicUsize::new(0),
                last_late: Mutex::default(),
                random: Mutex::new(StdRng::seed_from_u64(seed)),
            }),
        };
        let shared = proxy.shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = shared.clone();
                std::thread::spawn(move || shared.serve(client));
            }
        });
        proxy
    }

    pub fn forward_to(&self, behind: &str) {
        self.shared.behind.set(behind.to_owned()).unwrap();
    }

    pub fn set(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
        if mode == Mode::Cut {
            for (_, ends) in self.shared.open.lock().unwrap().drain() {
                ends.iter().for_each(|end| drop(end.shutdown(Shutdown::Both)));
            }
        }
    }

    /// Requests that were swallowed, held or late so far.
    pub fn hits(&self) -> usize {
        self.shared.hits.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn mode(&self) -> Mode {
        *self.mode.lock().unwrap()
    }

    fn serve(self: Arc<Self>, client: TcpStream) {
        if self.mode() == Mode::Cut {
            return;
        }
        let Some(behind) = self.behind.get() else { return };
        let Ok(broker) = TcpStream::connect(behind) else { return };
        let _ = (client.set_nodelay(true), broker.set_nodelay(true));
        let streams = [&client, &broker, &client, &broker].map(|stream| stream.try_clone().unwrap());
        let [from_client, to_broker, to_client, from_broker] = streams;
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        self.open.lock().unwrap().insert(number, [client, broker]);
        // Correlation ids of requests whose answers are to be swallowed.
        let doomed = Arc::new(Mutex::new(HashSet::new()));
        let (shared, marked) = (self.clone(), doomed.clone());
        std::thread::spawn(move || shared.requests(from_client, to_broker, &marked));
        self.answers(from_broker, to_client, &doomed);
        self.open.lock().unwrap().remove(&number);
    }

    fn requests(&self, mut from: TcpStream, mut to: TcpStream, doomed: &Mutex<HashSet<[u8; 4]>>) {
        while let Some(frame) = frame(&mut from) {
            // Length, key, version, correlation id.
            let key = i16::from_be_bytes([frame[4], frame[5]]);
            let correlation = [frame[8], frame[9], frame[10], frame[11]];
            match self.mode() {
                Mode::Swallow { key: wanted } if key == wanted => {
                    doomed.lock().unwrap().insert(correlation);
                }
                Mode::Hold { key: wanted, millis } if key == wanted => {
                    self.hits.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(millis));
                }
                Mode::Late { key: wanted, millis } if key == wanted && self.may_be_late() => {
                    self.hits.fetch_add(1, Ordering::Relaxed);
                    self.deliver_late(frame, Duration::from_millis(millis));
                    break;
                }
                Mode::Slow { .. } if !self.slowly() => break,
                _ => {}
            }
            if to.write_all(&frame).is_err() {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }

    fn may_be_late(&self) -> bool {
        let mut last = self.last_late.lock().unwrap();
        let may = last.is_none_or(|last| last.elapsed() >= BETWEEN_LATE);
        if may {
            *last = Some(Instant::now());
        }
        may
    }

    fn deliver_late(&self, request: Vec<u8>, after: Duration) {
        let behind = self.behind.get().expect("a request came through").clone();
        std::thread::spawn(move || {
            std::thread::sleep(after);
            if let Ok(mut broker) = TcpStream::connect(behind)
                && broker.write_all(&request).is_ok()
            {
                // Nobody waits for the answer any more.
                drop(frame(&mut broker));
            }
        });
    }

    fn answers(&self, mut from: TcpStream, mut to: TcpStream, doomed: &Mutex<HashSet<[u8; 4]>>) {
        while let Some(frame) = frame(&mut from) {
            if doomed.lock().unwrap().remove(&[frame[4], frame[5], frame[6], frame[7]]) {
                self.hits.fetch_add(1, Ordering::Relaxed);
                break;
            }
            match self.mode() {
                Mode::AnswersLost => continue,
                Mode::Slow { .. } if !self.slowly() => break,
                _ => {}
            }
            if to.write_all(&frame).is_err() {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }

    /// Waits; false where the connection breaks instead.
    fn slowly(&self) -> bool {
        let Mode::Slow { millis, resets } = self.mode() else {
            return true;
        };
        let (more, breaks) = {
            let mut random = self.random.lock().unwrap();
            (random.random_range(0..=millis), random.random_range(0..1000) < resets)
        };
        std::thread::sleep(Duration::from_millis(millis + more));
        !breaks
    }
}

/// One request or answer with its length before it.
fn frame(from: &mut TcpStream) -> Option<Vec<u8>> {
    let mut frame = vec![0; 4];
    from.read_exact(&mut frame).ok()?;
    let length = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
    frame.resize(4 + length, 0);
    from.read_exact(&mut frame[4..]).ok()?;
    (length >= 8).then_some(frame)
}
