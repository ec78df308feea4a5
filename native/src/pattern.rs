//! Regular expressions of characters, classes, groups and counts, matched in linear time.
//!
//! The positions of an expression are its characters and classes, each as often as its counts say. A set of positions
//! advances by one for each character of the text (Glushkov's automaton), so no text takes more than a step a character.

/// Positions of an expression at most; one with more is not supported.
const MAX_POSITIONS: usize = 1_024;

/// Parts of an expression at most, each as often as the counts around it say.
const MAX_PARTS: usize = 20_000;

/// Depth of groups at most.
const MAX_DEPTH: usize = 32;

/// A set of characters: the ASCII ones, and all others or none of them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Class {
    ascii: u128,
    others: bool,
}

impl Class {
    fn one(byte: u8) -> Self {
        Self { ascii: 1 << byte, others: false }
    }

    #[inline]
    fn contains(self, character: char) -> bool {
        if character.is_ascii() {
            self.ascii >> (character as u32) & 1 == 1
        } else {
            self.others
        }
    }
}

/// An expression that a text matches as a whole.
#[derive(Debug)]
pub enum Pattern {
    /// A class and how often it occurs, as in an identifier: each character is looked up once.
    Repeated {
        /// The class by byte; no byte of a character outside ASCII is in it.
        allowed: Box<[bool; 256]>,
        /// Characters at least.
        least: usize,
        /// Characters at most.
        most: usize,
    },
    /// Any other expression.
    Automaton(Automaton),
}

impl Pattern {
    /// Parse an expression; `None` if it has something else in it.
    pub fn parse(expression: &str) -> Option<Self> {
        if !expression.is_ascii() {
            return None;
        }
        let mut parser = Parser { rest: expression.as_bytes() };
        let node = parser.alternatives(0)?;
        if !parser.rest.is_empty() {
            return None;
        }
        if let Node::Repeat(inner, least, most) = &node {
            if let Node::Class(class) = **inner {
                if !class.others {
                    let mut allowed = Box::new([false; 256]);
                    for byte in 0..128_u8 {
                        allowed[usize::from(byte)] = class.contains(char::from(byte));
                    }
                    return Some(Self::Repeated { allowed, least: *least, most: most.unwrap_or(usize::MAX) });
                }
            }
        }
        Automaton::build(&node).map(Self::Automaton)
    }

    /// Return whether no text with the character NUL matches.
    pub fn excludes_nul(&self) -> bool {
        match self {
            Self::Repeated { allowed, .. } => !allowed[0],
            Self::Automaton(automaton) => !automaton.classes.iter().any(|class| class.contains('\0')),
        }
    }

    /// Return whether a text matches as a whole.
    #[inline]
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Repeated { allowed, least, most } => {
                let bytes = text.as_bytes();
                (*least..=*most).contains(&bytes.len()) && bytes.iter().all(|byte| allowed[usize::from(*byte)])
            }
            Self::Automaton(automaton) => automaton.matches(text),
        }
    }
}

#[derive(Clone, Debug)]
enum Node {
    Class(Class),
    Sequence(Vec<Node>),
    Choice(Vec<Node>),
    Repeat(Box<Node>, usize, Option<usize>),
}

struct Parser<'a> {
    rest: &'a [u8],
}

impl Parser<'_> {
    fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn skip(&mut self, wanted: u8) -> bool {
        let is_next = self.rest.first() == Some(&wanted);
        if is_next {
            self.rest = &self.rest[1..];
        }
        is_next
    }

    fn alternatives(&mut self, depth: usize) -> Option<Node> {
        if depth > MAX_DEPTH {
            return None;
        }
        let mut choices = vec![self.sequence(depth)?];
        while self.skip(b'|') {
            choices.push(self.sequence(depth)?);
        }
        Some(if choices.len() == 1 { choices.remove(0) } else { Node::Choice(choices) })
    }

    fn sequence(&mut self, depth: usize) -> Option<Node> {
        let mut parts = Vec::new();
        while !matches!(self.rest.first(), None | Some(b'|' | b')')) {
            let atom = self.atom(depth)?;
            parts.push(self.counted(atom)?);
        }
        Some(if parts.len() == 1 { parts.remove(0) } else { Node::Sequence(parts) })
    }

    fn atom(&mut self, depth: usize) -> Option<Node> {
        match self.take()? {
            b'(' => {
                if self.rest.first() == Some(&b'?') {
                    return None;
                }
                let inner = self.alternatives(depth + 1)?;
                self.skip(b')').then_some(inner)
            }
            b'[' => self.class().map(Node::Class),
            b'\\' => self.escaped().map(|byte| Node::Class(Class::one(byte))),
            b'.' | b'^' | b'$' | b'*' | b'+' | b'?' | b'{' => None,
            byte => Some(Node::Class(Class::one(byte))),
        }
    }

    fn escaped(&mut self) -> Option<u8> {
        self.take().filter(|byte| !byte.is_ascii_alphanumeric())
    }

    fn class(&mut self) -> Option<Class> {
        let is_negated = self.skip(b'^');
        let mut found: u128 = 0;
        let mut is_first = true;
        loop {
            let first = match self.take()? {
                b']' if !is_first => break,
                b'[' => return None,
                b'\\' => self.escaped()?,
                byte => byte,
            };
            is_first = false;
            let mut last = first;
            // A hyphen before the closing bracket is a character.
            if self.rest.first() == Some(&b'-') && !matches!(self.rest.get(1), None | Some(b']')) {
                self.take();
                last = match self.take()? {
                    b'[' => return None,
                    b'\\' => self.escaped()?,
                    byte => byte,
                };
            }
            if last < first {
                return None;
            }
            found |= (first..=last).fold(0, |bits, byte| bits | 1 << byte);
        }
        Some(if is_negated { Class { ascii: !found, others: true } } else { Class { ascii: found, others: false } })
    }

    /// Read what follows an atom and says how often it occurs.
    fn counted(&mut self, atom: Node) -> Option<Node> {
        let (least, most) = match self.rest.first() {
            Some(b'*') => (0, None),
            Some(b'+') => (1, None),
            Some(b'?') => (0, Some(1)),
            Some(b'{') => return self.braces(atom),
            _ => return Some(atom),
        };
        self.take();
        self.repeat(atom, least, most)
    }

    fn braces(&mut self, atom: Node) -> Option<Node> {
        self.take();
        let least = self.count()?;
        let most = if !self.skip(b',') {
            Some(least)
        } else if self.rest.first() == Some(&b'}') {
            None
        } else {
            Some(self.count()?)
        };
        if !self.skip(b'}') || most.is_some_and(|most| most < least) {
            return None;
        }
        self.repeat(atom, least, most)
    }

    fn repeat(&mut self, atom: Node, least: usize, most: Option<usize>) -> Option<Node> {
        // A second count, or one that says how eager the first one is, differs between the languages.
        let is_followed = matches!(self.rest.first(), Some(b'*' | b'+' | b'?' | b'{'));
        (!is_followed).then(|| Node::Repeat(Box::new(atom), least, most))
    }

    fn count(&mut self) -> Option<usize> {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = self.rest.split_at(digits);
        self.rest = rest;
        std::str::from_utf8(number).ok()?.parse().ok().filter(|number| *number <= MAX_POSITIONS)
    }
}

/// A set of positions.
type Positions = Vec<usize>;

/// The positions of an expression: what each holds, which ones may follow it, and which ones may be first or last.
#[derive(Debug, Default)]
pub struct Automaton {
    classes: Vec<Class>,
    parts: usize,
    follow: Vec<Positions>,
    first: Positions,
    is_last: Vec<bool>,
    is_empty_allowed: bool,
}

/// What a part of an expression may begin and end with.
struct Part {
    first: Positions,
    last: Positions,
    is_empty_allowed: bool,
}

impl Part {
    fn empty() -> Self {
        Self { first: Vec::new(), last: Vec::new(), is_empty_allowed: true }
    }
}

impl Automaton {
    fn build(node: &Node) -> Option<Self> {
        let mut automaton = Self::default();
        let part = automaton.add(node)?;
        automaton.is_last = vec![false; automaton.classes.len()];
        for place in part.last {
            automaton.is_last[place] = true;
        }
        for followers in &mut automaton.follow {
            followers.sort_unstable();
            followers.dedup();
        }
        automaton.first = part.first;
        automaton.is_empty_allowed = part.is_empty_allowed;
        Some(automaton)
    }

    fn add(&mut self, node: &Node) -> Option<Part> {
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return None;
        }
        match node {
            Node::Class(class) => {
                let place = self.classes.len();
                if place >= MAX_POSITIONS {
                    return None;
                }
                self.classes.push(*class);
                self.follow.push(Vec::new());
                Some(Part { first: vec![place], last: vec![place], is_empty_allowed: false })
            }
            Node::Sequence(parts) => {
                let mut whole = Part::empty();
                for part in parts {
                    let added = self.add(part)?;
                    whole = self.join(whole, added);
                }
                Some(whole)
            }
            Node::Choice(choices) => {
                let mut whole = Part { is_empty_allowed: false, ..Part::empty() };
                for choice in choices {
                    let added = self.add(choice)?;
                    whole.first.extend(added.first);
                    whole.last.extend(added.last);
                    whole.is_empty_allowed |= added.is_empty_allowed;
                }
                Some(whole)
            }
            Node::Repeat(inner, least, most) => self.add_repeated(inner, *least, *most),
        }
    }

    fn add_repeated(&mut self, inner: &Node, least: usize, most: Option<usize>) -> Option<Part> {
        let mut whole = Part::empty();
        // Without an upper bound, the last copy repeats.
        let copies = most.unwrap_or(least.max(1));
        for copy in 0..copies {
            let mut added = self.add(inner)?;
            if most.is_none() && copy + 1 == copies {
                self.link(&added.last, &added.first);
            }
            added.is_empty_allowed |= copy >= least;
            whole = self.join(whole, added);
        }
        Some(whole)
    }

    fn join(&mut self, mut one: Part, other: Part) -> Part {
        self.link(&one.last, &other.first);
        if one.is_empty_allowed {
            one.first.extend(&other.first);
        }
        let mut last = other.last;
        if other.is_empty_allowed {
            last.extend(one.last);
        }
        Part { first: one.first, last, is_empty_allowed: one.is_empty_allowed && other.is_empty_allowed }
    }

    fn link(&mut self, from: &[usize], to: &[usize]) {
        for place in from {
            self.follow[*place].extend(to);
        }
    }

    fn matches(&self, text: &str) -> bool {
        let mut current: Positions = Vec::new();
        let mut next: Positions = Vec::new();
        // The character at which a position was last reached, so that it is in the set once.
        let mut reached = vec![usize::MAX; self.classes.len()];
        let mut is_matched = self.is_empty_allowed;
        for (number, character) in text.chars().enumerate() {
            next.clear();
            is_matched = false;
            let mut reach = |candidates: &[usize]| {
                for place in candidates {
                    if reached[*place] != number && self.classes[*place].contains(character) {
                        reached[*place] = number;
                        next.push(*place);
                        is_matched |= self.is_last[*place];
                    }
                }
            };
            if number == 0 {
                reach(&self.first);
            } else {
                current.iter().for_each(|place| reach(&self.follow[*place]));
            }
            if next.is_empty() {
                return false;
            }
            std::mem::swap(&mut current, &mut next);
        }
        is_matched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(expression: &str, text: &str) -> bool {
        Pattern::parse(expression).expect(expression).matches(text)
    }

    #[test]
    fn texts_match_as_a_whole() {
        let yes = [
            ("", ""),
            ("[A-Z]{3}", "EUR"),
            (r"[!-\[\]-~]{1,64}", "T-1"),
            ("a|bc", "bc"),
            ("(ab)*c?", "ababc"),
            ("(a|b*){2,3}x", "abbbx"),
            ("[^a]{2}", "é\n"),
            ("[]a-]+", "]-a"),
            (r"\$[a-z ]+", "$a b"),
            ("(a*)*", "aaa"),
            ("x{0}y", "y"),
        ];
        for (expression, text) in yes {
            assert!(matches(expression, text), "{expression} {text}");
        }
        let no = [
            ("", "a"),
            ("[A-Z]{3}", "EU"),
            ("[A-Z]{3}", "EURO"),
            ("[A-Z]{3}", "EUR\n"),
            (r"[!-\[\]-~]{1,64}", "T\\1"),
            ("a|bc", "abc"),
            ("(ab){2}", "ab"),
            ("[^a]", "a"),
        ];
        for (expression, text) in no {
            assert!(!matches(expression, text), "{expression} {text}");
        }
    }

    #[test]
    fn other_expressions_are_not_supported() {
        for expression in [".", "^a", r"\d", "(?:a)", "a+?", "a{2}{3}", "[[:alpha:]]", "(a", "a)", "[a", "a{2000}", "é"]
        {
            assert!(Pattern::parse(expression).is_none(), "{expression}");
        }
    }

    #[test]
    fn an_expression_that_backtracks_elsewhere_takes_a_step_a_character() {
        assert!(!matches("(a*)*b", &"a".repeat(100_000)));
    }

    #[test]
    fn nested_counts_beyond_the_limit_are_not_supported() {
        assert!(Pattern::parse("((a{200}){200}){200}").is_none());
        assert!(Pattern::parse("(((){200}){200}){200}").is_none());
    }
}
