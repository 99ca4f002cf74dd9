//! A writer of pickles of plain objects, at protocol 2 (`torch.save`) or 4 (`jt.save`).

use num_bigint::BigInt;

use super::opcode as op;

/// Appends objects to a pickle. Containers are written as begin, items, end.
#[derive(Debug)]
pub(crate) struct PickleWriter {
    bytes: Vec<u8>,
    protocol: u8,
}

impl PickleWriter {
    /// A pickle of `protocol` 2 or 4.
    pub(crate) fn new(protocol: u8) -> Self {
        PickleWriter { bytes: vec![op::PROTO, protocol], protocol }
    }

    /// Ends the pickle.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bytes.push(op::STOP);
        self.bytes
    }

    /// Takes what was written so far, for content that follows elsewhere.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    pub(crate) fn none(&mut self) {
        self.bytes.push(op::NONE);
    }

    pub(crate) fn bool(&mut self, truth: bool) {
        self.bytes.push(if truth { op::NEWTRUE } else { op::NEWFALSE });
    }

    pub(crate) fn int(&mut self, number: i64) {
        if let Ok(number) = u8::try_from(number) {
            self.bytes.extend([op::BININT1, number]);
        } else if let Ok(number) = i32::try_from(number) {
            self.bytes.push(op::BININT);
            self.bytes.extend(number.to_le_bytes());
        } else {
            self.bytes.extend([op::LONG1, 8]);
            self.bytes.extend(number.to_le_bytes());
        }
    }

    pub(crate) fn big_int(&mut self, number: &BigInt) {
        let digits = number.to_signed_bytes_le();
        match u8::try_from(digits.len()) {
            Ok(len) => self.bytes.extend([op::LONG1, len]),
            Err(_) => {
                self.bytes.push(op::LONG4);
                self.bytes.extend((digits.len() as u32).to_le_bytes());
            }
        }
        self.bytes.extend(digits);
    }

    pub(crate) fn float(&mut self, number: f64) {
        self.bytes.push(op::BINFLOAT);
        self.bytes.extend(number.to_be_bytes());
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes.push(op::BINUNICODE);
        self.bytes.extend((text.len() as u32).to_le_bytes());
        self.bytes.extend(text.as_bytes());
    }

    /// Byte strings came with protocol 3; before, they were calls of a codec.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        if self.protocol >= 3 {
            self.bytes_header(bytes.len() as u64);
            self.bytes.extend(bytes);
            return;
        }
        self.global("_codecs", "encode");
        self.text(&bytes.iter().map(|byte| char::from(*byte)).collect::<String>());
        self.text("latin1");
        self.bytes.push(op::TUPLE2);
        self.reduce();
    }

    /// The beginning of a byte string of `len` bytes at protocol 4.
    pub(crate) fn bytes_header(&mut self, len: u64) {
        match u32::try_from(len) {
            Ok(len) => {
                self.bytes.push(op::BINBYTES);
                self.bytes.extend(len.to_le_bytes());
            }
            Err(_) => {
                self.bytes.push(op::BINBYTES8);
                self.bytes.extend(len.to_le_bytes());
            }
        }
    }

    pub(crate) fn mark(&mut self) {
        self.bytes.push(op::MARK);
    }

    /// Ends a tuple that began with a mark.
    pub(crate) fn tuple_end(&mut self) {
        self.bytes.push(op::TUPLE);
    }

    /// A tuple of sizes, strides or the like.
    pub(crate) fn sizes(&mut self, sizes: impl IntoIterator<Item = u64>) {
        self.mark();
        sizes.into_iter().for_each(|size| self.int(size as i64));
        self.tuple_end();
    }

    pub(crate) fn list_begin(&mut self) {
        self.bytes.extend([op::EMPTY_LIST, op::MARK]);
    }

    pub(crate) fn list_end(&mut self) {
        self.bytes.push(op::APPENDS);
    }

    /// Sets have opcodes since protocol 4; before, they were made from a list.
    pub(crate) fn set_begin(&mut self) {
        if self.protocol >= 4 {
            self.bytes.extend([op::EMPTY_SET, op::MARK]);
        } else {
            self.global("__builtin__", "set");
            self.list_begin();
        }
    }

    pub(crate) fn set_end(&mut self) {
        if self.protocol >= 4 {
            self.bytes.push(op::ADDITEMS);
        } else {
            self.list_end();
            self.bytes.push(op::TUPLE1);
            self.reduce();
        }
    }

    /// Begins a `dict`, or a `collections.OrderedDict`.
    pub(crate) fn dict_begin(&mut self, ordered: bool) {
        if ordered {
            self.empty_ordered_dict();
        } else {
            self.bytes.push(op::EMPTY_DICT);
        }
        self.mark();
    }

    pub(crate) fn dict_end(&mut self) {
        self.bytes.push(op::SETITEMS);
    }

    pub(crate) fn empty_ordered_dict(&mut self) {
        self.global("collections", "OrderedDict");
        self.bytes.push(op::EMPTY_TUPLE);
        self.reduce();
    }

    pub(crate) fn global(&mut self, module: &str, name: &str) {
        self.bytes.push(op::GLOBAL);
        for line in [module, name] {
            self.bytes.extend(line.as_bytes());
            self.bytes.push(b'\n');
        }
    }

    /// Calls the object below the tuple on top of the stack.
    pub(crate) fn reduce(&mut self) {
        self.bytes.push(op::REDUCE);
    }

    /// Sets the state of the object below the one on top of the stack.
    pub(crate) fn build(&mut self) {
        self.bytes.push(op::BUILD);
    }

    /// Turns the tuple on top of the stack into a persistent reference.
    pub(crate) fn persistent(&mut self) {
        self.bytes.push(op::BINPERSID);
    }
}
