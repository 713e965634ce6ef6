//! What crosses the seam: calls, and now and then a connection.

use super::{Call, Connection, FlowId};
use crate::time::Timestamp;

/// A call or a connection. Both travel in one order, so that whoever reads them sees the same whatever made them.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// One HTTP exchange.
    Call(Box<Call>),
    /// A flow that is worth telling of though it is no call.
    Connection(Box<Connection>),
}

impl Record {
    /// Its place in the total order in which records reach the detector.
    #[inline]
    pub fn order(&self) -> (Timestamp, FlowId, u32) {
        match self {
            Record::Call(call) => call.order(),
            Record::Connection(connection) => connection.order(),
        }
    }

    /// When it was known to be over; a connection that goes on, when it was told of.
    #[inline]
    pub fn end_time(&self) -> Timestamp {
        match self {
            Record::Call(call) => call.end_time,
            Record::Connection(connection) => connection.end_time,
        }
    }

    /// The call, if it is one.
    #[inline]
    pub fn call(&self) -> Option<&Call> {
        match self {
            Record::Call(call) => Some(call),
            Record::Connection(_) => None,
        }
    }

    /// The call, if it is one.
    #[inline]
    pub fn into_call(self) -> Option<Box<Call>> {
        match self {
            Record::Call(call) => Some(call),
            Record::Connection(_) => None,
        }
    }
}

impl From<Call> for Record {
    fn from(call: Call) -> Record {
        Record::Call(Box::new(call))
    }
}

impl From<Connection> for Record {
    fn from(connection: Connection) -> Record {
        Record::Connection(Box::new(connection))
    }
}
