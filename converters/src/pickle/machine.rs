//! The stack machine: opcodes in, an arena of inert objects out.

use std::collections::HashMap;

use bytes::Bytes;
use num_bigint::BigInt;

use super::escape::{raw_unicode, unescape};
use super::globals;
use super::node::{Id, NamedGlobal, Node, Object, Pickle};
use super::opcode as op;
use crate::error::Problem;
use crate::limits;
use crate::memory::{Memory, grown, hashed};

/// Who may answer persistent references.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// References name storages beside the pickle, as in PyTorch's files.
    Allowed,
    /// There is nothing beside the pickle.
    Forbidden,
}

/// Runs the pickle at the start of `source`; `place` is its name in messages, and `memory` pays for its objects.
///
/// # Errors
/// When an opcode is unknown or misused, a name is not on the allow-list, the data end, or a limit is reached.
pub(crate) fn run(
    source: &Bytes,
    place: &str,
    persistence: Persistence,
    memory: &mut Memory,
) -> Result<Pickle, Problem> {
    let mut machine = Machine {
        source,
        place,
        persistence,
        at: 0,
        opcode_at: 0,
        nodes: Vec::new(),
        globals: Vec::new(),
        global_numbers: HashMap::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        memory,
    };
    while !machine.step()? {}
    let root = machine.pop()?;
    Ok(Pickle { nodes: machine.nodes, globals: machine.globals, root, len: machine.at })
}

/// Whether the bytes may be a pickle of protocol 0 or 1, which has no magic number: it begins with an opcode
/// and runs to its STOP at the end of the file, or would if it were not malformed, or names something that
/// only a pickle would.
pub(crate) fn looks_like_text_protocol(source: &Bytes) -> bool {
    let begins = source.first().is_some_and(|first| b"(]})cIJKLMNFSVTUX".contains(first));
    match run(source, "", Persistence::Allowed, &mut Memory::of_file(source.len())) {
        Ok(pickle) => begins && pickle.len == source.len(),
        Err(Problem::ForbiddenGlobal { .. }) => begins,
        // Opcodes of these protocols end with a line; text rarely ends with a full stop on its own.
        Err(_) => begins && source.ends_with(b"\n."),
    }
}

struct Machine<'a> {
    source: &'a Bytes,
    place: &'a str,
    persistence: Persistence,
    at: usize,
    opcode_at: usize,
    nodes: Vec<Node>,
    globals: Vec<NamedGlobal>,
    global_numbers: HashMap<(String, String), u32>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    memory: &'a mut Memory,
}

type Step<T = ()> = Result<T, Problem>;

impl Machine<'_> {
    /// Runs one opcode; true after STOP.
    fn step(&mut self) -> Step<bool> {
        self.opcode_at = self.at;
        let opcode = self.byte()?;
        match opcode {
            op::STOP => return Ok(true),
            op::PROTO => self.protocol()?,
            op::FRAME => self.frame()?,

            op::NONE => self.push(Node::None)?,
            op::NEWTRUE => self.push(Node::Bool(true))?,
            op::NEWFALSE => self.push(Node::Bool(false))?,
            op::INT => self.int_line()?,
            op::LONG => self.long_line()?,
            op::BININT => self.push_int(|bytes| i32::from_le_bytes(bytes).into())?,
            op::BININT1 => self.push_int(|[byte]: [u8; 1]| byte.into())?,
            op::BININT2 => self.push_int(|bytes| u16::from_le_bytes(bytes).into())?,
            op::LONG1 | op::LONG4 => self.long(opcode)?,
            op::FLOAT => self.float_line()?,
            op::BINFLOAT => {
                let number = f64::from_be_bytes(self.array()?);
                self.push(Node::Float(number))?;
            }

            op::STRING => self.string_line()?,
            op::UNICODE => self.unicode_line()?,
            op::BINSTRING | op::SHORT_BINSTRING => {
                let bytes = self.counted(opcode)?;
                self.push(Node::ByteString(bytes))?;
            }
            op::BINUNICODE | op::SHORT_BINUNICODE | op::BINUNICODE8 => {
                let bytes = self.counted(opcode)?;
                self.push_text(bytes)?;
            }
            op::BINBYTES | op::SHORT_BINBYTES | op::BINBYTES8 | op::BYTEARRAY8 => {
                let bytes = self.counted(opcode)?;
                self.push(Node::Bytes(bytes))?;
            }

            op::EMPTY_TUPLE => self.push(Node::Tuple(Box::default()))?,
            op::TUPLE1 => self.tuple(1)?,
            op::TUPLE2 => self.tuple(2)?,
            op::TUPLE3 => self.tuple(3)?,
            op::TUPLE => {
                let items = self.pop_mark()?;
                self.push(Node::Tuple(items.into()))?;
            }
            op::EMPTY_LIST => self.push(Node::List(Vec::new()))?,
            op::LIST => {
                let items = self.pop_mark()?;
                self.push(Node::List(items))?;
            }
            op::EMPTY_DICT => self.push(Node::Dict(Vec::new()))?,
            op::DICT => {
                let items = self.pop_mark()?;
                let entries = self.pairs(&items)?;
                self.push(Node::Dict(entries))?;
            }
            op::EMPTY_SET => self.push(Node::Set(Vec::new()))?,
            op::FROZENSET => {
                let items = self.pop_mark()?;
                self.push(Node::Set(items))?;
            }
            op::APPEND => {
                let item = self.pop()?;
                self.extend(&[item])?;
            }
            op::APPENDS | op::ADDITEMS => {
                let items = self.pop_mark()?;
                self.extend(&items)?;
            }
            op::SETITEM => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set_items(&[key, value])?;
            }
            op::SETITEMS => {
                let items = self.pop_mark()?;
                self.set_items(&items)?;
            }

            op::MARK => self.mark()?,
            op::POP => self.pop_or_mark()?,
            op::POP_MARK => drop(self.pop_mark()?),
            op::DUP => {
                let top = self.top()?;
                self.push_id(top)?;
            }
            op::PUT | op::BINPUT | op::LONG_BINPUT | op::MEMOIZE => self.put(opcode)?,
            op::GET | op::BINGET | op::LONG_BINGET => self.get(opcode)?,

            op::GLOBAL => {
                let (module, name) = (self.line()?, self.line()?);
                self.push_global(&module, &name)?;
            }
            op::STACK_GLOBAL => self.stack_global()?,
            op::REDUCE | op::NEWOBJ => {
                let args = self.pop()?;
                let callable = self.pop()?;
                self.push_object(callable, args)?;
            }
            op::NEWOBJ_EX => self.new_object_with_keywords()?,
            op::INST => self.inst()?,
            op::OBJ => self.obj()?,
            op::BUILD => self.build()?,
            op::BINPERSID => self.persistent()?,
            op::PERSID => {
                self.line()?;
                return Err(self.forbidden("a persistent reference in text form"));
            }
            op::EXT1 | op::EXT2 | op::EXT4 => {
                return Err(self.forbidden("the extension registry (EXT opcode)"));
            }
            op::NEXT_BUFFER | op::READONLY_BUFFER => {
                return Err(Problem::unsupported(self.here(), "a buffer outside the pickle", RESAVE));
            }
            _ => return Err(self.corrupt("there is no such opcode").with_opcode(opcode)),
        }
        Ok(false)
    }

    // Reading.

    fn byte(&mut self) -> Step<u8> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        let field = self.source.get(self.at..).and_then(|rest| rest.first_chunk()).copied();
        let field = field.ok_or_else(|| self.truncated(N as u64))?;
        self.at += N;
        Ok(field)
    }

    fn take(&mut self, len: u64) -> Step<Bytes> {
        let end = usize::try_from(len).ok().and_then(|len| self.at.checked_add(len));
        match end.filter(|end| *end <= self.source.len()) {
            Some(end) => {
                let bytes = self.source.slice(self.at..end);
                self.at = end;
                Ok(bytes)
            }
            None => Err(self.truncated(len)),
        }
    }

    /// Bytes behind a length field, whose width depends on the opcode.
    fn counted(&mut self, opcode: u8) -> Step<Bytes> {
        let len = match opcode {
            op::SHORT_BINSTRING | op::SHORT_BINUNICODE | op::SHORT_BINBYTES => self.byte()?.into(),
            op::BINUNICODE8 | op::BINBYTES8 | op::BYTEARRAY8 => u64::from_le_bytes(self.array()?),
            op::BINSTRING => {
                let len = i32::from_le_bytes(self.array()?);
                u64::try_from(len).map_err(|_| self.corrupt("a length is negative"))?
            }
            _ => u32::from_le_bytes(self.array()?).into(),
        };
        self.take(len)
    }

    /// The rest of the line, without its end.
    fn line(&mut self) -> Step<Bytes> {
        let rest = self.source.get(self.at..).unwrap_or_default();
        let len = rest.iter().position(|byte| *byte == b'\n');
        let line = self.take(len.ok_or_else(|| self.truncated(rest.len() as u64 + 1))? as u64)?;
        self.at += 1;
        Ok(line)
    }

    fn protocol(&mut self) -> Step {
        match self.byte()? {
            version if version <= op::HIGHEST_PROTOCOL => Ok(()),
            version => Err(Problem::unsupported(self.here(), format!("pickle protocol {version}"), RESAVE)),
        }
    }

    fn frame(&mut self) -> Step {
        let len = u64::from_le_bytes(self.array()?);
        let left = (self.source.len() - self.at) as u64;
        if len <= left { Ok(()) } else { Err(self.truncated(len)) }
    }

    // Pushing and popping.

    fn push(&mut self, node: Node) -> Step {
        let id = self.nodes.len();
        self.within(id)?;
        self.take_memory(grown::<Node>())?;
        self.nodes.push(node);
        self.push_id(id as Id)
    }

    fn push_id(&mut self, id: Id) -> Step {
        self.within(self.stack.len())?;
        // From the stack it moves into a tuple, list or dictionary.
        self.take_memory(2 * grown::<Id>())?;
        self.stack.push(id);
        Ok(())
    }

    fn push_int<const N: usize>(&mut self, number: impl Fn([u8; N]) -> i64) -> Step {
        let bytes = self.array()?;
        self.push(Node::Int(number(bytes)))
    }

    fn push_text(&mut self, bytes: Bytes) -> Step {
        if std::str::from_utf8(&bytes).is_err() {
            return Err(self.corrupt("a text is not UTF-8"));
        }
        self.push(Node::Text(bytes))
    }

    fn push_big(&mut self, number: BigInt) -> Step {
        if let Ok(small) = i64::try_from(&number) {
            return self.push(Node::Int(small));
        }
        self.take_memory(size_of::<BigInt>() + number.bits() as usize / 8)?;
        self.push(Node::BigInt(Box::new(number)))
    }

    /// What lies below the top mark cannot be popped.
    fn pop(&mut self) -> Step<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(self.corrupt("it takes an object from an empty stack"));
        }
        self.stack.pop().ok_or_else(|| self.corrupt("it takes an object from an empty stack"))
    }

    fn top(&self) -> Step<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let top = self.stack.last().filter(|_| self.stack.len() > floor);
        top.copied().ok_or_else(|| self.corrupt("it takes an object from an empty stack"))
    }

    fn mark(&mut self) -> Step {
        self.within(self.marks.len())?;
        self.take_memory(grown::<usize>())?;
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn pop_mark(&mut self) -> Step<Vec<Id>> {
        let mark = self.marks.pop().ok_or_else(|| self.corrupt("it looks for a mark that was not set"))?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    /// POP removes a mark when nothing lies above it.
    fn pop_or_mark(&mut self) -> Step {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    fn node(&self, id: Id) -> Step<&Node> {
        self.nodes.get(id as usize).ok_or_else(|| self.corrupt("an object is missing"))
    }

    // Memo.

    fn put(&mut self, opcode: u8) -> Step {
        let key = match opcode {
            op::MEMOIZE => self.memo.len() as u32,
            op::BINPUT => self.byte()?.into(),
            op::LONG_BINPUT => u32::from_le_bytes(self.array()?),
            _ => self.number_line()?,
        };
        let top = self.top()?;
        self.within(self.memo.len())?;
        self.take_memory(hashed::<(u32, Id)>())?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn get(&mut self, opcode: u8) -> Step {
        let key = match opcode {
            op::BINGET => self.byte()?.into(),
            op::LONG_BINGET => u32::from_le_bytes(self.array()?),
            _ => self.number_line()?,
        };
        let id = self.memo.get(&key).copied();
        let id = id.ok_or_else(|| self.corrupt("it recalls an object that was not memorised"))?;
        self.push_id(id)
    }

    // Text forms of protocol 0.

    fn number_line<T: std::str::FromStr>(&mut self) -> Step<T> {
        let line = self.line()?;
        let number = std::str::from_utf8(&line).ok().and_then(|text| text.trim().parse().ok());
        number.ok_or_else(|| self.corrupt("a number in text form cannot be read"))
    }

    /// `01` and `00` are the booleans of protocol 0.
    fn int_line(&mut self) -> Step {
        let rest = self.source.get(self.at..).unwrap_or_default();
        if rest.starts_with(b"01\n") || rest.starts_with(b"00\n") {
            let truth = self.line()?.ends_with(b"1");
            return self.push(Node::Bool(truth));
        }
        self.long_line()
    }

    fn long_line(&mut self) -> Step {
        let line = self.line()?;
        let unreadable = || self.corrupt("a number in text form cannot be read");
        let text = std::str::from_utf8(&line).map_err(|_| unreadable())?.trim();
        self.short_integer(text.len())?;
        let digits = text.strip_suffix('L').unwrap_or(text);
        let number = digits.parse().map_err(|_| unreadable())?;
        self.push_big(number)
    }

    fn float_line(&mut self) -> Step {
        let number = self.number_line()?;
        self.push(Node::Float(number))
    }

    fn string_line(&mut self) -> Step {
        let line = self.line()?;
        self.take_memory(size_of::<Bytes>() + line.len())?;
        let quoted = match &*line {
            [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => Some(inner),
            _ => None,
        };
        let quoted = quoted.ok_or_else(|| self.corrupt("a text is not quoted"))?;
        let bytes = unescape(quoted).ok_or_else(|| self.corrupt("an escape sequence is malformed"))?;
        self.push(Node::ByteString(bytes.into()))
    }

    fn unicode_line(&mut self) -> Step {
        let line = self.line()?;
        // Latin-1 characters become two bytes.
        self.take_memory(size_of::<Bytes>() + 2 * grown::<u8>() * line.len())?;
        let text = raw_unicode(&line).ok_or_else(|| self.corrupt("an escape sequence is malformed"))?;
        self.push(Node::Text(text.into()))
    }

    fn long(&mut self, opcode: u8) -> Step {
        let len = match opcode {
            op::LONG1 => self.byte()?.into(),
            _ => i32::from_le_bytes(self.array()?),
        };
        let len = usize::try_from(len).map_err(|_| self.corrupt("a length is negative"))?;
        let bytes = self.take(len as u64)?;
        self.short_integer(len)?;
        self.push_big(BigInt::from_signed_bytes_le(&bytes))
    }

    // Containers.

    fn tuple(&mut self, len: usize) -> Step {
        let mut items = vec![0; len];
        for item in items.iter_mut().rev() {
            *item = self.pop()?;
        }
        self.push(Node::Tuple(items.into()))
    }

    fn pairs(&self, items: &[Id]) -> Step<Vec<(Id, Id)>> {
        let (pairs, rest) = items.as_chunks();
        match rest {
            [] => Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect()),
            _ => Err(self.corrupt("a dictionary has a key without a value")),
        }
    }

    fn extend(&mut self, new: &[Id]) -> Step {
        let target = self.top()?;
        match self.nodes.get_mut(target as usize) {
            Some(Node::List(items) | Node::Set(items)) => items.extend(new),
            Some(Node::Object(object)) => object.items.extend(new),
            _ => return Err(self.corrupt("it appends to something that is no list")),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Id]) -> Step {
        let pairs = self.pairs(items)?;
        let target = self.top()?;
        match self.nodes.get_mut(target as usize) {
            Some(Node::Dict(entries)) => entries.extend(pairs),
            Some(Node::Object(object)) => object.entries.extend(pairs),
            _ => return Err(self.corrupt("it sets an item of something that is no dictionary")),
        }
        Ok(())
    }

    // Names and calls.

    fn push_global(&mut self, module: &[u8], name: &[u8]) -> Step {
        let (module, name) = match (std::str::from_utf8(module), std::str::from_utf8(name)) {
            (Ok(module), Ok(name)) => (module, name),
            _ => return Err(self.corrupt("a name is not UTF-8")),
        };
        let key = (module.to_owned(), name.to_owned());
        let number = match self.global_numbers.get(&key) {
            Some(number) => *number,
            None => {
                let full = format!("{module}.{name}");
                let meaning = globals::meaning(module, name).ok_or_else(|| Problem::ForbiddenGlobal {
                    name: full.clone(),
                    offset: self.opcode_at as u64,
                    place: self.place.to_owned(),
                })?;
                self.take_memory(grown::<NamedGlobal>() + hashed::<((String, String), u32)>())?;
                self.take_memory(3 * full.len())?;
                let number = self.globals.len() as u32;
                self.globals.push(NamedGlobal { name: full, meaning });
                self.global_numbers.insert(key, number);
                number
            }
        };
        self.push(Node::Global(number))
    }

    fn stack_global(&mut self) -> Step {
        let (name, module) = (self.pop()?, self.pop()?);
        let text = |id| match self.node(id) {
            Ok(Node::Text(bytes)) => Some(bytes.clone()),
            _ => None,
        };
        match (text(module), text(name)) {
            (Some(module), Some(name)) => self.push_global(&module, &name),
            _ => Err(self.corrupt("the name of a class is not a text")),
        }
    }

    fn push_object(&mut self, callable: Id, args: Id) -> Step {
        if !matches!(self.node(callable)?, Node::Global(_) | Node::Persistent(_)) {
            return Err(self.corrupt("it calls something that is neither a class nor a function"));
        }
        if !matches!(self.node(args)?, Node::Tuple(_)) {
            return Err(self.corrupt("the arguments of a call are not a tuple"));
        }
        self.take_memory(size_of::<Object>())?;
        let object = Object { callable, args, state: Vec::new(), entries: Vec::new(), items: Vec::new() };
        self.push(Node::Object(Box::new(object)))
    }

    fn new_object_with_keywords(&mut self) -> Step {
        let keywords = self.pop()?;
        let (args, class) = (self.pop()?, self.pop()?);
        self.push_object(class, args)?;
        self.push_id(keywords)?;
        self.build()
    }

    /// INST and OBJ: a class and its arguments above a mark.
    fn inst(&mut self) -> Step {
        let (module, name) = (self.line()?, self.line()?);
        let args = self.pop_mark()?;
        self.push_global(&module, &name)?;
        self.call(args)
    }

    fn obj(&mut self) -> Step {
        let mut items = self.pop_mark()?;
        if items.is_empty() {
            return Err(self.corrupt("it makes an instance without a class"));
        }
        let class = items.remove(0);
        self.push_id(class)?;
        self.call(items)
    }

    /// Calls the top of the stack.
    fn call(&mut self, args: Vec<Id>) -> Step {
        self.push(Node::Tuple(args.into()))?;
        let args = self.pop()?;
        let callable = self.pop()?;
        self.push_object(callable, args)
    }

    fn build(&mut self) -> Step {
        let state = self.pop()?;
        let target = self.top()?;
        self.take_memory(2 * grown::<Id>())?;
        match self.nodes.get_mut(target as usize) {
            Some(Node::Object(object)) => object.state.push(state),
            Some(Node::Global(_)) => {
                return Err(self.forbidden("BUILD on a class, which changes the class itself"));
            }
            _ => return Err(self.corrupt("it sets the state of something that has none")),
        }
        Ok(())
    }

    fn persistent(&mut self) -> Step {
        if self.persistence == Persistence::Forbidden {
            return Err(self.forbidden("a persistent reference although nothing lies beside the pickle"));
        }
        let id = self.pop()?;
        self.push(Node::Persistent(id))
    }

    // Failures.

    fn here(&self) -> String {
        format!("{} at byte {}", self.place, self.opcode_at)
    }

    fn corrupt(&self, rule: &'static str) -> Problem {
        Problem::malformed(self.here(), rule)
    }

    fn forbidden(&self, what: &str) -> Problem {
        Problem::ForbiddenOperation { place: self.here(), what: what.to_owned() }
    }

    fn truncated(&self, needs: u64) -> Problem {
        let has = (self.source.len() - self.at) as u64;
        Problem::Truncated { place: self.here(), needs, has }
    }

    fn within(&self, count: usize) -> Step {
        if count < limits::MAX_PICKLE_OBJECTS {
            return Ok(());
        }
        Err(Problem::Limit {
            place: self.here(),
            what: "the number of objects".to_owned(),
            limit: limits::MAX_PICKLE_OBJECTS as u64,
        })
    }

    /// Pays for something that is about to be built.
    fn take_memory(&mut self, bytes: usize) -> Step {
        let (place, at) = (self.place, self.opcode_at);
        self.memory.take(bytes, || format!("{place} at byte {at}"))
    }

    fn short_integer(&self, len: usize) -> Step {
        if len <= limits::MAX_INTEGER_BYTES {
            return Ok(());
        }
        Err(Problem::Limit {
            place: self.here(),
            what: format!("an integer of {len} bytes"),
            limit: limits::MAX_INTEGER_BYTES as u64,
        })
    }
}

const RESAVE: &str = "save it again with torch.save, jt.save or pickle protocol 2 to 5";

impl Problem {
    /// Names the opcode in the message about an unknown one.
    fn with_opcode(self, opcode: u8) -> Problem {
        match self {
            Problem::Malformed { place, rule } => {
                Problem::Malformed { place: format!("opcode {opcode:#04x} of {place}"), rule }
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_bytes(bytes: &'static [u8]) -> Result<Pickle, Problem> {
        let memory = &mut Memory::of_file(bytes.len());
        run(&Bytes::from_static(bytes), "pickle", Persistence::Forbidden, memory)
    }

    #[test]
    fn marks_bound_what_may_be_popped() {
        assert!(run_bytes(b"N(a.").is_err());
        assert!(run_bytes(b"](K\x01K\x02e.").is_ok());
    }

    #[test]
    fn booleans_of_protocol_0() {
        let pickle = run_bytes(b"(I01\nI1\nt.").unwrap();
        let [truth, number] = pickle.tuple(pickle.root) else { panic!() };
        assert!(matches!(pickle.node(*truth), Node::Bool(true)));
        assert!(matches!(pickle.node(*number), Node::Int(1)));
    }
}
