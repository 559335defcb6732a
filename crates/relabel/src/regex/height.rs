//! The height of Go's syntax tree, which Go limits. It is not the depth of the groups: what needs no node of its own there,
//! as a group without captures or a row of literals, has none here either.

/// What a part of a pattern is in Go's tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One character, in any case or not: such neighbours become one node.
    Literal {
        ignore_case: bool,
    },
    /// A class, whose alternatives become one class.
    Class,
    /// Becomes part of the concatenation it is in.
    Concatenation,
    /// Becomes part of the alternation it is a branch of.
    Alternation,
    Other,
}

/// The top of a subtree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tree {
    pub(super) kind: Kind,
    pub(super) height: usize,
}

/// The branches between two parentheses, as far as they were read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Branches {
    current: Branch,
    finished: usize,
    tallest: usize,
    /// A branch that is no single character or class.
    any_complex: bool,
}

/// Parts that follow each other.
#[derive(Clone, Copy, Debug, Default)]
struct Branch {
    parts: usize,
    tallest: usize,
    last: Option<Tree>,
    /// There are literals of several characters.
    has_string: bool,
}

impl Tree {
    pub(super) fn leaf(kind: Kind) -> Tree {
        Tree { kind, height: 1 }
    }

    /// A node of its own above this one.
    pub(super) fn parent(self) -> Tree {
        Tree { kind: Kind::Other, height: self.height + 1 }
    }
}

impl Branches {
    /// Adds a part that no repetition can reach any more.
    pub(super) fn push(&mut self, part: Tree) {
        let Branch { parts, tallest, last, has_string } = &mut self.current;
        let is_literal = matches!(part.kind, Kind::Literal { .. });
        if is_literal && last.is_some_and(|last| last.kind == part.kind) {
            *has_string = true;
        } else {
            *parts += 1;
        }
        let hoisted = usize::from(part.kind == Kind::Concatenation);
        *tallest = (*tallest).max(part.height - hoisted);
        *last = Some(part);
    }

    /// Begins another branch.
    pub(super) fn next(&mut self) {
        let Tree { kind, height } = self.current.tree();
        let is_character = matches!(kind, Kind::Literal { .. } | Kind::Class) && !self.current.has_string;
        self.any_complex |= !is_character;
        self.tallest = self.tallest.max(height - usize::from(kind == Kind::Alternation));
        self.finished += 1;
        self.current = Branch::default();
    }

    /// The tree of all branches.
    pub(super) fn tree(mut self) -> Tree {
        if self.finished == 0 {
            return self.current.tree();
        }
        self.next();
        if self.any_complex { Tree { kind: Kind::Alternation, height: self.tallest + 1 } } else { Tree::leaf(Kind::Class) }
    }
}

impl Branch {
    fn tree(&self) -> Tree {
        match (self.parts, self.last) {
            (0, _) | (_, None) => Tree::leaf(Kind::Other),
            (1, Some(last)) => last,
            _ => Tree { kind: Kind::Concatenation, height: self.tallest + 1 },
        }
    }
}
