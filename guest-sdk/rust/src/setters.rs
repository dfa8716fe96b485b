//! The setters, which a [`Record`](crate::Record) and a [`Merge`](crate::Merge) have
//! in common: each is an operation of a PATCH (ABI §4.3).

// Operations of a PATCH beside those that set an attribute, whose codes are its kind (ABI §4.3).
pub(crate) const OP_REMOVE: u8 = 7;
pub(crate) const OP_SEVERITY: u8 = 16;
pub(crate) const OP_FACILITY: u8 = 17;
pub(crate) const OP_TIME: u8 = 18;
pub(crate) const OP_HOST: u8 = 19;
pub(crate) const OP_APP: u8 = 20;
pub(crate) const OP_PROCID: u8 = 21;
pub(crate) const OP_MSGID: u8 = 22;
pub(crate) const OP_SD: u8 = 23;
pub(crate) const OP_MESSAGE: u8 = 24;
pub(crate) const OP_STREAM: u8 = 25;
pub(crate) const OP_JOIN: u8 = 26;

/// Makes the setters as methods that return `$give`; the type has an `op`, and an
/// `op_cold` for what is rare.
macro_rules! setters {
    ($result:ty, $me:ident => $give:expr) => {
        /// Sets an attribute to a text.
        #[inline]
        pub fn set(&mut $me, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> $result {
            $me.op(Kind::String as u8, key.as_ref(), value.as_ref());
            $give
        }

        /// Sets an attribute to an integer.
        #[inline]
        pub fn set_int(&mut $me, key: impl AsRef<[u8]>, value: i64) -> $result {
            $me.op(Kind::Int as u8, key.as_ref(), &value.to_le_bytes());
            $give
        }

        /// Sets an attribute to a number.
        #[inline]
        pub fn set_float(&mut $me, key: impl AsRef<[u8]>, value: f64) -> $result {
            $me.op_cold(Kind::Float as u8, key.as_ref(), &value.to_bits().to_le_bytes());
            $give
        }

        /// Sets an attribute to true or false.
        #[inline]
        pub fn set_bool(&mut $me, key: impl AsRef<[u8]>, value: bool) -> $result {
            $me.op_cold(Kind::Bool as u8, key.as_ref(), &[value as u8]);
            $give
        }

        /// Sets an attribute to bytes that are no text.
        #[inline]
        pub fn set_bytes(&mut $me, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> $result {
            $me.op_cold(Kind::Bytes as u8, key.as_ref(), value.as_ref());
            $give
        }

        /// Sets an attribute to a JSON array, object or null, given as text.
        #[inline]
        pub fn set_json(&mut $me, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> $result {
            $me.op_cold(Kind::Json as u8, key.as_ref(), value.as_ref());
            $give
        }

        /// Removes an attribute; it is no mistake if there is none.
        #[inline]
        pub fn remove(&mut $me, key: impl AsRef<[u8]>) -> $result {
            $me.op_cold(OP_REMOVE, key.as_ref(), &[]);
            $give
        }

        /// Changes the severity: 0 to 7, or [`ABSENT`](crate::ABSENT).
        pub fn set_severity(&mut $me, severity: u8) -> $result {
            $me.op_cold(OP_SEVERITY, &[], &[severity]);
            $give
        }

        /// Changes the facility: 0 to 23, or [`ABSENT`](crate::ABSENT).
        pub fn set_facility(&mut $me, facility: u8) -> $result {
            $me.op_cold(OP_FACILITY, &[], &[facility]);
            $give
        }

        /// Changes the event time: nanoseconds since 1970 UTC, or [`NO_TIME`](crate::NO_TIME).
        pub fn set_time(&mut $me, time: i64) -> $result {
            $me.op_cold(OP_TIME, &[], &time.to_le_bytes());
            $give
        }

        /// Changes the host's name.
        pub fn set_host(&mut $me, host: impl AsRef<[u8]>) -> $result {
            $me.op_cold(OP_HOST, &[], host.as_ref());
            $give
        }

        /// Changes the APP-NAME.
        pub fn set_app(&mut $me, app: impl AsRef<[u8]>) -> $result {
            $me.op_cold(OP_APP, &[], app.as_ref());
            $give
        }

        /// Changes the PROCID.
        pub fn set_procid(&mut $me, procid: impl AsRef<[u8]>) -> $result {
            $me.op_cold(OP_PROCID, &[], procid.as_ref());
            $give
        }

        /// Changes the MSGID.
        pub fn set_msgid(&mut $me, msgid: impl AsRef<[u8]>) -> $result {
            $me.op_cold(OP_MSGID, &[], msgid.as_ref());
            $give
        }

        /// Changes the STRUCTURED-DATA, given as it stands in a message, brackets included.
        pub fn set_sd(&mut $me, sd: impl AsRef<[u8]>) -> $result {
            $me.op_cold(OP_SD, &[], sd.as_ref());
            $give
        }

        /// Changes the text.
        pub fn set_message(&mut $me, message: impl AsRef<[u8]>) -> $result {
            $me.op_cold(OP_MESSAGE, &[], message.as_ref());
            $give
        }

        /// Sends it to a stream of the config.
        #[inline]
        pub fn route(&mut $me, stream: impl AsRef<[u8]>) -> $result {
            $me.op(OP_STREAM, &[], stream.as_ref());
            $give
        }
    };
}

pub(crate) use setters;
