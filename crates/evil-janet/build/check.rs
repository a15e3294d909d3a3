//! Turns the bindings into C assertions about janet.h: that it declares the same types, constants and functions.
//!
//! For a struct, the assertions compare the size, the alignment, and the type and the offset of each field with those of
//! a C struct that is made from the Rust one. `repr(C)` gives both the same layout, on every target.

use std::fmt::Write;

/// Structs that Rust sees behind pointers only: those of the header may have more fields.
const MAY_BE_LONGER: [&str; 4] = ["JanetFiber", "JanetFile", "JanetFuncDef", "JanetFunction"];

/// What src/inlined.rs knows of the bits of a value.
const INLINED: &str = "#ifdef JANET_NANBOX_64\n\
    EQUAL(JANET_NANBOX_TAGBITS, 0x1FFFFull << 47, \"the place of the tag\");\n\
    EQUAL(JANET_NANBOX_PAYLOADBITS, (1ull << 47) - 1, \"the place of a value's pointer\");\n\
    EQUAL(janet_nanbox_tag(0), 0x1FFF0ull << 47, \"the tag of a value\");\n\
    EQUAL(janet_nanbox_tag(15), 0x1FFFFull << 47, \"the tag of a value\");\n\
    #endif\n";

/// A type, as Rust writes it.
enum Type {
    Name(String),
    Pointer {
        constant: bool,
        to: Box<Type>,
    },
    Function {
        arguments: Vec<Type>,
        result: Box<Type>,
    },
    /// An array of no length, at the end of a struct.
    Array(Box<Type>),
}

impl Type {
    /// Declares `what` as a value of this type, in C.
    fn declare(&self, what: &str) -> String {
        match self {
            Type::Name(name) => {
                let name = match name.as_str() {
                    "i8" => "int8_t",
                    "u8" => "uint8_t",
                    "u16" => "uint16_t",
                    "i32" => "int32_t",
                    "u32" => "uint32_t",
                    "i64" => "int64_t",
                    "u64" => "uint64_t",
                    "usize" => "size_t",
                    "f64" => "double",
                    "c_char" => "char",
                    "c_int" => "int",
                    "c_uint" => "unsigned",
                    "c_longlong" => "long long",
                    "c_void" => "void",
                    other => other,
                };
                format!("{name} {what}").trim_end().to_owned()
            }
            Type::Pointer { constant: true, to } => to.declare(&format!("const *{what}")),
            Type::Pointer { constant: false, to } => to.declare(&format!("*{what}")),
            Type::Function { arguments, result } => {
                let list: Vec<String> = arguments.iter().map(|argument| argument.declare("")).collect();
                let list = if list.is_empty() { "void".to_owned() } else { list.join(", ") };
                result.declare(&format!("(*{what})({list})"))
            }
            Type::Array(of) => of.declare(&format!("{what}[]")),
        }
    }

    fn is_integer(&self) -> bool {
        matches!(self, Type::Name(name) if matches!(name.as_str(), "i32" | "u32" | "c_int" | "c_uint"))
    }
}

/// A C program that compiles if the header is as the bindings say. `cfgs` are the names that `#[cfg(NAME)]` selects.
pub fn program(bindings: &str, cfgs: &[&str]) -> Result<String, String> {
    let code: String =
        bindings.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code)).collect::<Vec<_>>().join(" ");
    let mut parser = Parser { rest: code.trim_start(), cfgs };
    let mut out = String::from(
        "#include <janet.h>\n#include <stddef.h>\n\
         #if !defined(JANET_EV) || !defined(JANET_NET)\n\
         #error this Janet was built without its event loop or its network functions\n\
         #endif\n\
         #define SAME(a, b, what) _Static_assert(__builtin_types_compatible_p(a, b), \"kqnet: \" what \".\")\n\
         #define EQUAL(a, b, what) _Static_assert((a) == (b), \"kqnet: \" what \".\")\n",
    );
    out += INLINED;
    while let Some(assertions) = parser.item()? {
        out += &assertions;
    }
    Ok(out)
}

/// Parses the subset of Rust that src/bindings.rs uses.
struct Parser<'a> {
    rest: &'a str,
    cfgs: &'a [&'a str],
}

impl<'a> Parser<'a> {
    /// The assertions for the next item; none when the text has ended.
    fn item(&mut self) -> Result<Option<String>, String> {
        let mut selected = true;
        loop {
            if self.rest.is_empty() {
                return Ok(None);
            }
            if self.rest.starts_with('#') {
                selected &= self.attribute()?;
            } else if self.eat("use ") {
                self.until(';')?;
            } else if !self.eat("unsafe extern \"C-unwind\" {") && !self.eat("}") {
                break;
            }
        }
        self.expect("pub ")?;
        let out = match self.word()? {
            "type" => self.alias(),
            "const" => self.constant(),
            "struct" => self.fields("struct"),
            "union" => self.fields("union"),
            "fn" => self.function(),
            "static" => self.variable(),
            other => Err(format!("{other} is not expected")),
        }?;
        Ok(Some(if selected { out } else { String::new() }))
    }

    /// Whether an attribute selects what comes after it.
    fn attribute(&mut self) -> Result<bool, String> {
        let attribute = self.until(']')?;
        let name = attribute.strip_prefix("#[cfg(").and_then(|rest| rest.strip_suffix(")]"));
        Ok(name.is_none_or(|name| self.cfgs.contains(&name)))
    }

    fn alias(&mut self) -> Result<String, String> {
        let name = self.word()?.to_owned();
        self.expect("=")?;
        let of = self.kind()?;
        self.expect(";")?;
        let c = of.declare("");
        if of.is_integer() {
            // An enum is not an integer type, but is represented by one.
            return Ok(format!(
                "EQUAL(sizeof({name}), sizeof({c}), \"the size of {name}\");\n\
                 EQUAL(({name})-1 < 0, ({c})-1 < 0, \"the sign of {name}\");\n"
            ));
        }
        Ok(format!("SAME({name}, {c}, \"the type {name}\");\n"))
    }

    fn constant(&mut self) -> Result<String, String> {
        let name = self.word()?.to_owned();
        self.expect(":")?;
        let of = self.word()?;
        // The constants of an enum have the enum's name as a prefix.
        let c = name.strip_prefix(of).and_then(|rest| rest.strip_prefix('_')).unwrap_or(&name).to_owned();
        self.expect("=")?;
        let value = self.until(';')?.trim_end_matches(';').trim();
        Ok(format!("EQUAL({c}, {value}, \"the constant {c}\");\n"))
    }

    fn fields(&mut self, what: &str) -> Result<String, String> {
        let name = self.word()?.to_owned();
        self.expect("{")?;
        let mut fields = Vec::new();
        while !self.eat("}") {
            let mut selected = true;
            while self.rest.starts_with('#') {
                selected &= self.attribute()?;
            }
            if !self.eat("pub ") {
                // The struct is opaque.
                self.until('}')?;
                return Ok(format!("extern {name} *kqnet_{name};\n"));
            }
            let field = self.word()?.trim_end_matches('_').to_owned();
            self.expect(":")?;
            let of = self.kind()?;
            self.expect(",")?;
            if selected {
                fields.push((field, of));
            }
        }

        let mut out = String::new();
        if let Some((owner, field)) = name.split_once('_') {
            // It has no name in C.
            let _ = writeln!(out, "typedef __typeof__((({owner} *)0)->{field}) {name};");
        }
        let mirror = format!("{what} kqnet_{name}");
        let declared: String = fields.iter().map(|(field, of)| format!(" {};", of.declare(field))).collect();
        let _ = writeln!(out, "{mirror} {{{declared} }};");
        for (field, of) in &fields {
            let (of, part): (&Type, _) = match of {
                Type::Array(of) => (of, "[0]"),
                _ => (of, ""),
            };
            let (c, about) = (of.declare(""), format!("the field {field} of {name}"));
            let _ = writeln!(out, "SAME(__typeof__((({name} *)0)->{field}{part}), {c}, \"{about}\");");
            let _ = writeln!(out, "EQUAL(offsetof({name}, {field}), offsetof({mirror}, {field}), \"{about}\");");
        }
        if !MAY_BE_LONGER.contains(&name.as_str()) {
            let _ = writeln!(out, "EQUAL(sizeof({name}), sizeof({mirror}), \"the size of {name}\");");
        }
        let _ = writeln!(out, "EQUAL(_Alignof({name}), _Alignof({mirror}), \"the alignment of {name}\");");
        Ok(out)
    }

    fn function(&mut self) -> Result<String, String> {
        let name = self.word()?.to_owned();
        let function = self.signature()?;
        self.expect(";")?;
        Ok(format!("SAME(__typeof__(&{name}), {}, \"the function {name}\");\n", function.declare("")))
    }

    fn variable(&mut self) -> Result<String, String> {
        let name = self.word()?.to_owned();
        self.expect(":")?;
        let of = self.kind()?;
        self.expect(";")?;
        Ok(format!("SAME(__typeof__({name}), {}, \"the variable {name}\");\n", of.declare("")))
    }

    /// `(name: TYPE, …) -> TYPE`
    fn signature(&mut self) -> Result<Type, String> {
        self.expect("(")?;
        let mut arguments = Vec::new();
        while !self.eat(")") {
            self.word()?;
            self.expect(":")?;
            arguments.push(self.kind()?);
            self.eat(",");
        }
        let result = if self.eat("->") { self.kind()? } else { Type::Name("c_void".to_owned()) };
        Ok(Type::Function { arguments, result: Box::new(result) })
    }

    fn kind(&mut self) -> Result<Type, String> {
        for (word, constant) in [("*const ", true), ("*mut ", false)] {
            if self.eat(word) {
                return Ok(Type::Pointer { constant, to: Box::new(self.kind()?) });
            }
        }
        if self.eat("Option<unsafe extern \"C-unwind\" fn") {
            let function = self.signature()?;
            self.expect(">")?;
            return Ok(function);
        }
        if self.eat("[") {
            let of = self.kind()?;
            self.expect("; 0]")?;
            return Ok(Type::Array(Box::new(of)));
        }
        Ok(Type::Name(self.word()?.to_owned()))
    }

    fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.eat(token) {
            return Ok(());
        }
        let found: String = self.rest.chars().take(40).collect();
        Err(format!("{token} is expected instead of {found}"))
    }

    fn word(&mut self) -> Result<&'a str, String> {
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        if end == 0 {
            self.expect("a name")?;
        }
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        Ok(word)
    }

    /// The text up to and including a character.
    fn until(&mut self, end: char) -> Result<&'a str, String> {
        let end = self.rest.find(end).ok_or_else(|| format!("{end} is expected"))? + end.len_utf8();
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        Ok(text)
    }
}
