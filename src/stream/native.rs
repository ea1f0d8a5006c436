//! The one place with `unsafe`: two calls of the client whose wrappers in the crate sleep in steps of 100 ms while
//! anything is in flight (<https://github.com/fede1024/rust-rdkafka/pull/748>, [#777]), and two that the crate lacks. The
//! producer's own thread serves delivery reports meanwhile, so nothing else has to be polled.
//!
//! [#777]: https://github.com/fede1024/rust-rdkafka/pull/777

use std::ffi::{CStr, CString, c_char};
use std::time::Duration;

use rdkafka::bindings;
use rdkafka::client::{Client, ClientContext, OAuthToken};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::Producer as _;

use super::transaction::TransactionalProducer;

/// What the client answers to a commit that did not come about.
#[derive(Debug)]
pub(super) struct Refusal {
    pub code: RDKafkaErrorCode,
    pub text: String,
    /// The same call may be made again.
    pub retriable: bool,
    /// This transaction can only be aborted.
    pub requires_abort: bool,
}

/// Waits until everything sent is delivered or given up; false when the time is over.
pub(super) fn flush(producer: &TransactionalProducer, patience: Duration) -> bool {
    // SAFETY: the pointer is that of a living producer, which the reference keeps alive for the call.
    let answer = unsafe { bindings::rd_kafka_flush(producer.client().native_ptr(), millis(patience)) };
    answer == bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
}

/// Commits the open transaction, whose offsets were sent.
pub(super) fn commit(producer: &TransactionalProducer, patience: Duration) -> Result<(), Refusal> {
    // SAFETY: the pointer is that of a living producer, which the reference keeps alive for the call. An error belongs
    // to us: it is read while it lives and destroyed once.
    unsafe {
        let error = bindings::rd_kafka_commit_transaction(producer.client().native_ptr(), millis(patience));
        if error.is_null() {
            return Ok(());
        }
        let refusal = Refusal {
            code: bindings::rd_kafka_error_code(error).into(),
            text: CStr::from_ptr(bindings::rd_kafka_error_string(error))
                .to_string_lossy()
                .into_owned(),
            retriable: bindings::rd_kafka_error_is_retriable(error) != 0,
            requires_abort: bindings::rd_kafka_error_txn_requires_abort(error) != 0,
        };
        bindings::rd_kafka_error_destroy(error);
        Err(refusal)
    }
}

/// Tells the group that whoever polls this client lives, from within a callback of a poll that takes long. A queue of its
/// own is polled, in which nothing ever stands, so that no record and no other event is taken.
pub(super) fn lives<C: ConsumerContext>(consumer: &BaseConsumer<C>) {
    // SAFETY: the pointer is that of a living client, which the reference keeps alive for the calls. The queue is ours: it
    // is made, polled and given back here, and is empty, so that no message comes of it.
    unsafe {
        let queue = bindings::rd_kafka_queue_new(consumer.client().native_ptr());
        let none = bindings::rd_kafka_consume_queue(queue, 0);
        debug_assert!(none.is_null(), "nothing feeds this queue");
        bindings::rd_kafka_queue_destroy(queue);
    }
}

/// Gives a client the token to log in with, where it has not asked for one yet.
pub(super) fn set_token<C: ClientContext>(client: &Client<C>, token: &OAuthToken) -> Result<(), String> {
    let text = |text: &str| CString::new(text).map_err(|_| "it holds a null".to_owned());
    let (value, principal) = (text(&token.token)?, text(&token.principal_name)?);
    let mut problem: [c_char; 512] = [0; 512];
    // SAFETY: the pointer is that of a living client, which the reference keeps alive for the call. The texts outlive it,
    // and the client copies them; it writes no more than the length that it is given, with a null at the end.
    unsafe {
        let answer = bindings::rd_kafka_oauthbearer_set_token(
            client.native_ptr(),
            value.as_ptr(),
            token.lifetime_ms,
            principal.as_ptr(),
            std::ptr::null_mut(),
            0,
            problem.as_mut_ptr(),
            problem.len(),
        );
        if answer == bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Ok(());
        }
        Err(CStr::from_ptr(problem.as_ptr()).to_string_lossy().into_owned())
    }
}

/// The client takes -1 for "without end", which is never meant here.
fn millis(patience: Duration) -> i32 {
    i32::try_from(patience.as_millis()).unwrap_or(i32::MAX)
}
