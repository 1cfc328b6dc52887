/* syntax: trees, spans, messages for what no text file can hold, limits, and the formatter. */
#include "compiler/syntax/ast.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

static Sources *sources;
static Diagnostics *all;
static Arena *arena;
static Names *names;
static Comments comments;
static Program *program;
static Text text;

static void set_up(void) {
    sources = sources_new();
    all = diagnostics_new(sources, 0);
    arena = arena_new();
    names = names_new();
    text = (Text){0};
}

static void tear_down(void) {
    text_free(&text);
    names_free(names);
    arena_free(arena);
    diagnostics_free(all);
    sources_free(sources);
}

TestSuite(syntax, .init = set_up, .fini = tear_down);

static void parse_bytes(const char *bytes, size_t length) {
    uint32_t file = sources_add(sources, "t.pdn", bytes, length, false);
    program = syntax_parse(arena, names, all, file, &comments);
}

static void parse(const char *bytes) { parse_bytes(bytes, strlen(bytes)); }

/* Without errors; anything else fails the test and shows them. */
static void parse_right(const char *bytes) {
    parse(bytes);
    diagnostics_render_text(all, &text);
    cr_assert_eq(diagnostics_errors(all), 0, "%s", text.data ? text.data : "");
}

static void expect_tree(const char *expected) {
    syntax_print(program, names, &text);
    cr_assert_str_eq(text.data, expected);
}

static void expect_messages(const char *expected) {
    diagnostics_render_text(all, &text);
    cr_assert_str_eq(text.data ? text.data : "", expected);
}

/* ---- trees ------------------------------------------------------------------------ */

/* An expression with every operation in brackets: structure without spans. */
static void put_structure(const Expr *e, Text *out) {
    switch (e->kind) {
    case EXPR_NAME: text_puts(out, names_text(names, e->name)); break;
    case EXPR_NUMBER: text_printf(out, "%g", e->number); break;
    case EXPR_BOOL: text_puts(out, e->boolean ? "true" : "false"); break;
    case EXPR_STRING: text_printf(out, "'%s'", e->string.bytes); break;
    case EXPR_LIST:
        text_puts(out, "[");
        for (uint32_t i = 0; i < e->list.count; i++) {
            text_puts(out, i ? "," : "");
            put_structure(e->list.items[i], out);
        }
        text_puts(out, "]");
        break;
    case EXPR_CALL:
        put_structure(e->call.callee, out);
        text_puts(out, "{");
        for (uint32_t i = 0; i < e->call.count; i++) {
            text_printf(out, "%s%s%s", i ? "," : "", names_text(names, e->call.args[i].name),
                        e->call.args[i].name ? "=" : "");
            put_structure(e->call.args[i].value, out);
        }
        text_puts(out, "}");
        break;
    case EXPR_INDEX:
        put_structure(e->index.base, out);
        text_puts(out, "<");
        put_structure(e->index.index, out);
        text_puts(out, ">");
        break;
    case EXPR_MEMBER:
        put_structure(e->member.base, out);
        text_printf(out, ".%s", names_text(names, e->member.name));
        break;
    case EXPR_UNARY:
        text_printf(out, "(%s ", ast_op_text(e->unary.op));
        put_structure(e->unary.operand, out);
        text_puts(out, ")");
        break;
    case EXPR_BINARY:
        text_puts(out, "(");
        put_structure(e->binary.left, out);
        text_printf(out, " %s ", ast_op_text(e->binary.op));
        put_structure(e->binary.right, out);
        text_puts(out, ")");
        break;
    default: text_puts(out, "error"); break;
    }
}

Test(syntax, precedence) {
    static const char *const cases[][2] = {
        {"a + b * c ^ d ^ e", "(a + (b * (c ^ (d ^ e))))"},
        {"a - b - c + d", "(((a - b) - c) + d)"},
        {"a / b % c * d", "(((a / b) % c) * d)"},
        {"-a ^ 2", "(- (a ^ 2))"},
        {"2 ^ -a ^ b", "(2 ^ (- (a ^ b)))"},
        {"-a * b", "((- a) * b)"},
        {"--a", "(- (- a))"},
        {"not a == b and c or d", "(((not (a == b)) and c) or d)"},
        {"a or b and c", "(a or (b and c))"},
        {"a + 1 < b -> c + 1", "((a + 1) < (b -> (c + 1)))"},
        {"0 .. n - 1", "(0 .. (n - 1))"},
        {"0..n", "(0 .. n)"},
        {"1. + .5e1 + 1e-3 + 2.5", "(((1 + 5) + 0.001) + 2.5)"},
        {"f(a)(b, k = c)[d].e", "f{a}{b,k=c}<d>.e"},
        {"-f(x)[i].m ^ 2", "(- (f{x}<i>.m ^ 2))"},
        {"(a + b) * c", "((a + b) * c)"},
        {"[1, [a, b,], true]", "[1,[a,b],true]"},
        {"[]", "[]"},
        {"f(a,)", "f{a}"},
        {"conv(1, boundary = z)", "conv{1,boundary=z}"},
        {"λ * ω_1 + ἀ", "((λ * ω_1) + ἀ)"},
        {"\"a\\n\\t\\\"\\\\\"", "'a\n\t\"\\'"},
        {"not not false", "(not (not false))"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        parse_right(arena_format(arena, "let x = %s\n", cases[i][0]));
        Text got = {0};
        put_structure(program->items[0].let.value, &got);
        cr_assert_str_eq(got.data, cases[i][1], "%s gave %s", cases[i][0], got.data);
        text_free(&got);
    }
}

Test(syntax, depth_is_the_height_of_the_tree) {
    parse_right("let x = a + f(b * -c)[1]\n");
    cr_assert_eq(program->items[0].let.value->depth, 6);
    parse_right("let x = ((a))\n");
    cr_assert_eq(program->items[0].let.value->depth, 1);
    cr_assert(program->items[0].let.value->parens);
}

Test(syntax, spans_hold_what_was_written) {
    const char *bytes = "let x = a + (b * c)\nexperiment e {\n    print 1, f(2)\n}\n";
    parse_right(bytes);
    const Expr *sum = program->items[0].let.value;
    cr_assert_eq(strncmp(bytes + sum->span.begin, "a + (b * c)\n", sum->span.end - sum->span.begin),
                 0);
    cr_assert_eq(sum->span.end - sum->span.begin, 11);
    cr_assert_eq(sum->binary.op_span.begin, 10);
    cr_assert_eq(sum->binary.right->span.begin, 12, "parentheses included");
    cr_assert_eq(sum->binary.right->span.end, 19);
    const Stmt *print = program->items[1].experiment.block->items[0];
    cr_assert_eq(print->span.end - print->span.begin, strlen("print 1, f(2)"));
    cr_assert_eq(program->items[1].name.span.begin, 31);
}

Test(syntax, every_item) {
    parse_right("use schemes\nuse \"a.pdn\"\nprecision f64\nlet c = 1\nfn f(s, l = 2) = s\n"
                "operator A(a: int, b: field[3] = 2)(u) = u\npde P(u) { dt(u) = u }\n"
                "scheme S()(f) { return f }\nnetwork N(f) = f\nsolver V(t)(A, b, x) = b\n"
                "experiment e { }\ntest \"t\" { }\n");
    expect_tree(
        "use schemes\n"
        "use\n  string \"a.pdn\"\n"
        "precision f64\n"
        "let c\n  number 1\n"
        "fn f\n  input s\n  input l\n    default\n      number 2\n  name s\n"
        "operator A\n  configured\n  config a\n    type int\n  config b\n    type field\n"
        "    channels\n      number 3\n    default\n      number 2\n  input u\n  name u\n"
        "pde P\n  input u\n  block\n    equation\n      call\n        name dt\n        name u\n"
        "      name u\n"
        "scheme S\n  configured\n  input f\n  block\n    return\n      name f\n"
        "network N\n  input f\n  name f\n"
        "solver V\n  configured\n  config t\n  input A\n  input b\n  input x\n  name b\n"
        "experiment e\n  block\n"
        "test\n  string \"t\"\n  block\n");
}

Test(syntax, every_statement) {
    parse_right("experiment e {\n"
                "let a, b = c\nlet g(x) = x\ninput i = 1\ngrid G = 1\ndata d = 1\n"
                "param p[n] = 1 in r subject to s\nparam q = 1\n"
                "boundary u, v at x.low = z\nboundary u = z\n"
                "solve l = r for u from w with s\nsolve l = r for u with s\n"
                "u[0] = f\nuntil c\nreturn a, b\n"
                "if a { } else if b { } else { }\n"
                "for x in d { }\n"
                "train n, m.k on x in d for 2 epochs with o { }\ntrain n for s steps with o { }\n"
                "every 2 epochs { }\nminimise m\nreport \"r\": a\nprint \"p\": a, b\nprint a\n"
                "save a to \"s\"\nload a from \"l\"\nassert c\n}\n");
    cr_assert_eq(program->count, 1);
    static const StmtKind kinds[] = {
        STMT_LET,   STMT_LET_FN,   STMT_INPUT,    STMT_GRID,  STMT_DATA,  STMT_PARAM,
        STMT_PARAM, STMT_BOUNDARY, STMT_BOUNDARY, STMT_SOLVE, STMT_SOLVE, STMT_EQUATION,
        STMT_UNTIL, STMT_RETURN,   STMT_IF,       STMT_FOR,   STMT_TRAIN, STMT_TRAIN,
        STMT_EVERY, STMT_MINIMISE, STMT_REPORT,   STMT_PRINT, STMT_PRINT, STMT_SAVE,
        STMT_LOAD,  STMT_ASSERT,
    };
    const Block *block = program->items[0].experiment.block;
    cr_assert_eq(block->count, sizeof kinds / sizeof *kinds);
    for (uint32_t i = 0; i < block->count; i++) {
        cr_assert_eq(block->items[i]->kind, kinds[i], "statement %u", i);
    }
    Stmt *const *s = block->items;
    cr_assert(s[0]->let.count == 2 && s[0]->let.names[1].name == names_of(names, "b"));
    cr_assert(s[5]->param.length && s[5]->param.ranges.count == 1 &&
              s[5]->param.constraints.count == 1);
    cr_assert(!s[6]->param.length && !s[6]->param.ranges.count && !s[6]->param.constraints.count);
    cr_assert(s[7]->boundary.side && s[7]->boundary.count == 2 && !s[8]->boundary.side);
    cr_assert(s[9]->solve.from && !s[10]->solve.from);
    cr_assert_eq(s[14]->branch.otherwise->items[0]->kind, STMT_IF);
    cr_assert_not_null(s[14]->branch.otherwise->items[0]->branch.otherwise);
    cr_assert(s[16]->train.what.count == 2 && s[16]->train.on &&
              s[16]->train.unit.name == names_of(names, "epochs"));
    cr_assert(s[17]->train.on_name.name == 0 && !s[17]->train.on);
    cr_assert(s[21]->print.label && s[21]->print.values.count == 2 && !s[22]->print.label);
}

Test(syntax, where_statements_end) {
    parse_right("let a =\n    f(1,\n      2) +\n    3\n"
                "experiment e { let b = 1 }\n"
                "experiment g\n{\n    if a {\n    }\n    else {\n    }\n"
                "    param K = 1\n        in [0, 1]\n        subject to norm(K) <= 1\n"
                "    let c = [1,\n\n 2] # why\n    -u = c }");
    cr_assert_eq(program->count, 3);
    cr_assert_eq(program->items[2].experiment.block->count, 4);
    cr_assert_eq(comments.count, 1);
}

Test(syntax, comments_are_listed) {
    const char *bytes = "# one  \r\nlet a = 1  # two\n  # three\n";
    parse_right(bytes);
    cr_assert_eq(comments.count, 3);
    cr_assert(comments.items[0].alone && !comments.items[1].alone && comments.items[2].alone);
    cr_assert_eq(comments.items[0].span.end, 5, "without blanks at the end");
    cr_assert_eq(strncmp(bytes + comments.items[1].span.begin, "# two", 5), 0);
}

Test(syntax, empty_files) {
    parse_right("");
    cr_assert_eq(program->count, 0);
    parse_right("\xEF\xBB\xBFlet a = 1\r\n\r\n# end");
    cr_assert_eq(program->count, 1);
    parse_right("\n\n   \t\n");
    cr_assert_eq(program->count, 0);
    program =
        syntax_parse(arena, names, all, sources_add(sources, "n", "let a = 1", 9, false), NULL);
    cr_assert_eq(program->count, 1, "no end of line, comments not asked for");
}

/* ---- recovery ------------------------------------------------------------------------ */

Test(syntax, what_is_right_around_a_mistake_is_read) {
    parse(
        "let a = 1\nlet b = +\nlet c = 3\n"
        "experiment e {\n    let d = )\n    print \"a\": 1\n    if x y { print 2 }\n    print 3\n}\nlet f = 4\n");
    cr_assert_eq(diagnostics_errors(all), 4, "b, two about d, the condition");
    cr_assert_eq(program->count, 5);
    cr_assert_eq(program->items[1].kind, ITEM_LET, "the name is known");
    cr_assert_eq(program->items[1].let.value->kind, EXPR_ERROR);
    const Block *block = program->items[3].experiment.block;
    cr_assert_eq(block->count, 4);
    cr_assert_eq(block->items[0]->let.value->kind, EXPR_ERROR);
    cr_assert_eq(block->items[2]->kind, STMT_ERROR);
    cr_assert_eq(block->items[3]->kind, STMT_PRINT);
}

Test(syntax, a_missing_bracket_is_one_mistake) {
    parse("experiment e {\n    let a = f(g([1, 2)\n    print a\n    let b = (1\n}\nlet c = 1\n");
    cr_assert_eq(diagnostics_errors(all), 3);
    cr_assert_eq(program->count, 2);
    cr_assert_eq(program->items[0].experiment.block->count, 3);
}

/* ---- bytes that no regression file can hold ------------------------------------------------ */

Test(syntax, nul_and_control_bytes) {
    parse_bytes("let a = \0\0\0 1\nlet b = 2 \x01\n", 25);
    cr_assert_eq(program->count, 2);
    /* DIAG_SYNTAX_STRAY_BYTE */
    expect_messages("t.pdn:1:9: error: the byte \\x00 \\x00 \\x00 has no meaning in a program\n"
                    "  1 | let a = \\x00\\x00\\x00 1\n"
                    "    |         ^~~~~~~~~~~~\n"
                    "t.pdn:2:11: error: the byte \\x01 has no meaning in a program\n"
                    "  2 | let b = 2 \\x01\n"
                    "    |           ^~~~\n");
}

Test(syntax, invalid_utf8_everywhere) {
    parse("let a = 1 \xff\xfe\n# c\xc3\nprecision \xe2\x88 f64\n");
    cr_assert_eq(diagnostics_errors(all), 3); /* DIAG_SYNTAX_INVALID_UTF8 */
    cr_assert_eq(program->count, 2);
    diagnostics_render_text(all, &text);
    cr_assert_not_null(strstr(text.data,
                              "t.pdn:1:11: error: the bytes \\xff \\xfe are not valid UTF-8\n"
                              "  1 | let a = 1 \\xff\\xfe\n"
                              "    |           ^~~~~~~~\n"
                              "  help: save the file in the encoding UTF-8\n"));
    cr_assert_not_null(strstr(text.data, "t.pdn:2:4: error: the bytes \\xc3"));
    cr_assert_not_null(strstr(text.data, "t.pdn:3:11: error: the bytes \\xe2 \\x88"));
}

Test(syntax, invalid_utf8_in_strings) {
    parse("use \"a\xff\"\n");
    cr_assert_eq(diagnostics_errors(all), 1);
}

/* ---- size and depth --------------------------------------------------------------------------- */

static Text repeated(const char *before, const char *what, uint32_t count, const char *middle,
                     const char *closing, const char *after) {
    Text made = {0};
    text_puts(&made, before);
    for (uint32_t i = 0; i < count; i++) { text_puts(&made, what); }
    text_puts(&made, middle);
    for (uint32_t i = 0; i < count && *closing; i++) { text_puts(&made, closing); }
    text_puts(&made, after);
    return made;
}

/* Runs on a thread with the stack of the driver's. */
static void *deep(void *unused) {
    (void)unused;
    static const char *const forms[][5] = {
        {"let a = ", "(", "1", ")", "\n"},
        {"let a = ", "[", "1", "]", "\n"},
        {"let a = ", "f(", "1", ")", "\n"},
        {"let a = ", "a + ", "1", "", "\n"},
        {"let a = ", "a^", "1", "", "\n"},
        {"let a = ", "-", "1", "", "\n"},
        {"let a = ", "not ", "a", "", "\n"},
        {"let a = a", ".b", "", "", "\n"},
        {"let a = a", "[0]", "", "", "\n"},
        {"experiment e { ", "if a { ", "", "} ", "}\n"},
        {"experiment e { ", "if a {\n", "", "}\n", "}\n"},
        {"experiment e { ", "if a { } else ", "{ }", "", "}\n"},
        {"let a = ", "(", "", "", ""},
        {"experiment e ", "{", "", "", ""},
        {"", ")", "", "", ""},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const char *const *f = forms[i];
        bool can_be_right = *f[3] || *f[4];
        for (int pass = 0; pass < 2; pass++) {
            set_up();
            Text made = repeated(f[0], f[1], pass ? 9990 : 100000, f[2], f[3], f[4]);
            parse_bytes(made.data, made.len);
            if (can_be_right) {
                cr_assert_eq(diagnostics_errors(all), !pass, "form %zu, pass %d", i, pass);
                diagnostics_render_text(all, &text);
                cr_assert(pass || strstr(text.data, "nesting deeper than 10000"), "form %zu", i);
                /* DIAG_SYNTAX_TOO_DEEP */
            } else {
                cr_assert_gt(diagnostics_errors(all), 0);
            }
            if (!diagnostics_errors(all)) {
                Text once = {0}, tree = {0};
                syntax_print(program, names, &tree);
                cr_assert_gt(tree.len, 0);
                syntax_format(program, names, sources, &comments, &once);
                cr_assert_gt(once.len, 0);
                parse_bytes(once.data, once.len);
                cr_assert_eq(diagnostics_errors(all), 0, "form %zu formatted", i);
                text_free(&once);
                text_free(&tree);
            }
            text_free(&made);
            tear_down();
        }
    }
    return NULL;
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

Test(syntax_limits, nesting) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, (size_t)512 << 20);
    pthread_t thread;
    double before = seconds();
    cr_assert_eq(pthread_create(&thread, &attributes, deep, NULL), 0);
    pthread_join(thread, NULL);
    cr_assert_lt(seconds() - before, 60, "sanitizers and valgrind included");
}

Test(syntax, files_of_more_than_16_mb) {
    Text made = {0};
    vec_reserve(&made, 50000000);
    memset(made.data, 'a', 50000000);
    double before = seconds();
    parse_bytes(made.data, 50000000);
    cr_assert_lt(seconds() - before, 5);
    expect_messages(
        "t.pdn:1:1: error: the program has 50000000 bytes, more than the 16777216 that a "
        "file may have\n" /* DIAG_FILE_TOO_LARGE */
        "  1 | aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…\n"
        "    | ^\n"
        "  help: numbers belong in a file of their own: array(\"data.npy\")\n");
    cr_assert_eq(program->count, 0);
    text_free(&made);
}

Test(syntax, a_thousand_mistakes_are_enough) {
    Text made = repeated("", "let = 1\n", 5000, "", "", "");
    parse_bytes(made.data, made.len);
    cr_assert_eq(diagnostics_errors(all), 1000);
    text_free(&made);
}

/* ---- the formatter ------------------------------------------------------------------------------ */

static void expect_format(const char *from, const char *to) {
    for (int pass = 0; pass < 2; pass++) {
        parse_right(pass ? to : from);
        Text got = {0};
        syntax_format(program, names, sources, &comments, &got);
        cr_assert_str_eq(got.data ? got.data : "", to, "pass %d:\n%s", pass, got.data);
        text_free(&got);
    }
}

Test(syntax, format_spaces) {
    expect_format("let  a=f( x,k=2 )+ -b *c^2-[1 ,2][ k+1 ].m\n",
                  "let a = f(x, k = 2) + -b * c^2 - [1, 2][k+1].m\n");
    expect_format("let a=0 .. n\nlet b = 1->2\nlet c = not(x)==y\n",
                  "let a = 0..n\nlet b = 1 -> 2\nlet c = not (x) == y\n");
    expect_format("let a = a+b * c\nlet d = 4*k + 2\nlet e = ((x))\nlet f = 2. .. .5\n",
                  "let a = a + b * c\nlet d = 4*k + 2\nlet e = (x)\nlet f = 2. .. .5\n");
    expect_format("operator A( a:int,b : field[ 3 ]=2 )( u )=u",
                  "operator A(a: int, b: field[3] = 2)(u) = u\n");
}

Test(syntax, format_blocks) {
    expect_format("experiment e{print 1\n\n\n\nprint 2\n\n}\n\n\n",
                  "experiment e {\n    print 1\n\n    print 2\n}\n");
    expect_format("experiment e { for x in d {print x} }\nexperiment f {\n}\n",
                  "experiment e { for x in d { print x } }\nexperiment f {}\n");
    expect_format(
        "experiment e {\nif a {print 1} else if b {print 2}\nelse { print 3 }\n}\n",
        "experiment e {\n    if a {\n        print 1\n    } else if b {\n        print 2\n"
        "    } else {\n        print 3\n    }\n}\n");
}

Test(syntax, format_keeps_columns) {
    expect_format("scheme s(f) {\n u[0]   = f\n u[k+1] = u[k]\n return u[1]\n}\n",
                  "scheme s(f) {\n    u[0]   = f\n    u[k+1] = u[k]\n    return u[1]\n}\n");
    expect_format("let a     = 1\nlet bcd     = 2\n", "let a = 1\nlet bcd = 2\n");
    expect_format("let a = 1     # one\nlet bc = 22   # two\nlet d = 3 # three\n",
                  "let a = 1    # one\nlet bc = 22  # two\nlet d = 3  # three\n");
}

Test(syntax, format_comments) {
    expect_format("# top\n\n\n# a\nlet a = 1# b\n#c\n", "# top\n\n# a\nlet a = 1  # b\n#c\n");
    expect_format(
        "experiment e { # why\n  # first\n\n  print 1 # one\n  # last\n}# end\n",
        "experiment e {  # why\n    # first\n\n    print 1  # one\n    # last\n}  # end\n");
    expect_format("let a = f(1, # one\n  2 # two\n)\n",
                  "let a = f(1,  # one\n          2,  # two\n)\n");
    expect_format("let a = f(\n  # zero\n  1, 2\n)\n", "let a = f(\n    # zero\n    1, 2,\n)\n");
    expect_format("let a = 1 + # plus\n 2\n", "# plus\nlet a = 1 +\n    2\n");
    expect_format("experiment e {\n # only\n}\n", "experiment e {\n    # only\n}\n");
}

Test(syntax, format_breaks_long_lines) {
    expect_format(
        "let film = trajectory(explicit(gray_scott(), tau = 1.0, steps = steps), stride = 200)"
        "([1 - 0.5 * square, square])\n",
        "let film = trajectory(explicit(gray_scott(), tau = 1.0, steps = steps), stride = 200)(\n"
        "    [1 - 0.5 * square, square],\n)\n");
    expect_format(
        "let w = stencil([[0, 1, 0],\n  [1, -4, 1],\n [0, 1, 0]])\n",
        "let w = stencil([[0, 1, 0],\n                 [1, -4, 1],\n                 [0, 1, 0]])\n");
    expect_format(
        "network n(f) {\n    param Kernel[depth] = conv(1 -> channels, size = size, init = he, "
        "boundary = reflecting) in [0, 1] subject to norm(Kernel) <= 1\n}\n",
        "network n(f) {\n    param Kernel[depth] = conv(1 -> channels, size = size, init = he, "
        "boundary = reflecting)\n        in [0, 1]\n        subject to norm(Kernel) <= 1\n}\n");
    expect_format("let total_energy = first_long_name_of_a_term + second_long_name_of_a_term + "
                  "third_long_name_of_a_term\n",
                  "let total_energy = first_long_name_of_a_term + second_long_name_of_a_term +\n"
                  "    third_long_name_of_a_term\n");
}
