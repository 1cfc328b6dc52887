/* The grammar. `feed` (feed.c) supplies tokens with balanced brackets and an NL at the end of each
 * statement; the actions build the tree through the makers of ast.c. */
%require "3.8"
%define api.pure full
%define api.prefix {pdn_}
%define api.token.prefix {T_}
%define api.location.type {Span}
%define parse.lac full
%define parse.error custom
%locations
%expect 0
%param {Parser *parser}

%code requires {
#include "compiler/syntax/parser.h"
}

%code {
int pdn_lex(PDN_STYPE *value, Span *at, Parser *parser);
static void pdn_error(Span *at, Parser *parser, const char *message);

/* Enough for AST_DEPTH_LIMIT brackets with the operators that may wait between them. */
#define YYMAXDEPTH 1000000
#define YYLLOC_DEFAULT(result, rhs, n)                                                             \
    ((result) = (n) ? span_join(YYRHSLOC(rhs, 1), YYRHSLOC(rhs, n))                                \
                    : (Span){YYRHSLOC(rhs, 0).file, YYRHSLOC(rhs, 0).end, YYRHSLOC(rhs, 0).end})
#define NEW(Type) ARENA_NEW(parser->arena, Type)
#define PUSH(list, item) NODES_PUSH(parser, list, item)
#define BINARY(op, all, mark, l, r) make_binary(parser, all, AST_##op, mark, l, r)
#define STMT(kind, at) make_stmt(parser, STMT_##kind, at)
static Item *new_item(Parser *parser, ItemKind kind, Span span, NameAt name);
static Expr *spanned(Expr *expr, Span span);
static Stmt *branch(Parser *parser, Span at, Expr *condition, Block *then, Block *otherwise);
static Stmt *bind(Parser *parser, StmtKind kind, Span at, NameAt name, Expr *value);
static Stmt *let(Parser *parser, Span at, const NameAts *names, Expr *value);
static Expr *missing(Parser *parser, Span at);
}

%union {
    NameAt name;
    Expr *expr;
    Exprs *exprs;
    Arg arg;
    Args *args;
    Param param;
    Params *params;
    NameAts *names;
    Limits *limits;
    Stmt *stmt;
    Stmts *stmts;
    Block *block;
    Item *item;
    DefKind def;
}

%token END 0 NL
%token USE LET FN OPERATOR PDE SCHEME NETWORK SOLVER EXPERIMENT TEST INPUT PARAM GRID DATA BOUNDARY
%token SOLVE FOR IN WITH FROM TRAIN ON EVERY MINIMISE REPORT PRINT SAVE LOAD TO ASSERT RETURN IF ELSE
%token SUBJECT AND OR NOT TRUE FALSE AT UNTIL PRECISION
%token LPAREN RPAREN LBRACKET RBRACKET LBRACE RBRACE COMMA COLON ASSIGN DOT
%token RANGE ARROW EQ NE LT LE GT GE PLUS MINUS STAR SLASH PERCENT POWER
%token <name> NAME
%token <expr> NUMBER STRING

%left OR
%left AND
%precedence NOT
%nonassoc EQ NE LT LE GT GE
%nonassoc RANGE ARROW
%left PLUS MINUS
%left STAR SLASH PERCENT
%precedence UMINUS
%right POWER
%precedence LPAREN LBRACKET DOT

%type <item> item
%type <def> definition
%type <params> params param_list
%type <param> param
%type <block> block
%type <stmts> stmts
%type <stmt> stmt if
%type <names> names
%type <limits> limits
%type <expr> expr
%type <exprs> exprs list_items
%type <args> args arg_list
%type <arg> arg

%%

program:
    %empty
  | program NL
  | program item        { PUSH(&parser->items, *$2); }
  | program error NL    { yyerrok; PUSH(&parser->items, *new_item(parser, ITEM_ERROR, @2, (NameAt){0})); }
  | program error block { yyerrok; PUSH(&parser->items, *new_item(parser, ITEM_ERROR, @2, (NameAt){0})); }
  ;

item:
    USE NAME NL               { $$ = new_item(parser, ITEM_USE, @$, $2); }
  | USE STRING NL             { $$ = new_item(parser, ITEM_USE, @$, (NameAt){0}); $$->use.path = $2; }
  | LET NAME ASSIGN expr NL   { $$ = new_item(parser, ITEM_LET, @$, $2); $$->let.value = $4; }
  | LET NAME ASSIGN error NL  { yyerrok; $$ = new_item(parser, ITEM_LET, @$, $2);
                                $$->let.value = missing(parser, @4); }
  | PRECISION NAME NL         { $$ = new_item(parser, ITEM_PRECISION, @$, $2); }
  | FN NAME LPAREN params RPAREN ASSIGN expr NL {
        $$ = new_item(parser, ITEM_FN, @$, $2);
        $$->fn.params = MAKE_LIST(ParamList, $4);
        $$->fn.value = $7;
    }
  | definition NAME LPAREN params RPAREN ASSIGN expr NL {
        $$ = new_item(parser, ITEM_DEF, @$, $2);
        $$->def.kind = $1;
        $$->def.inputs = MAKE_LIST(ParamList, $4);
        $$->def.value = $7;
    }
  | definition NAME LPAREN params RPAREN block {
        $$ = new_item(parser, ITEM_DEF, @$, $2);
        $$->def.kind = $1;
        $$->def.inputs = MAKE_LIST(ParamList, $4);
        $$->def.block = $6;
    }
  | definition NAME LPAREN params RPAREN LPAREN params RPAREN ASSIGN expr NL {
        $$ = new_item(parser, ITEM_DEF, @$, $2);
        $$->def.kind = $1;
        $$->def.has_config = true;
        $$->def.config = MAKE_LIST(ParamList, $4);
        $$->def.inputs = MAKE_LIST(ParamList, $7);
        $$->def.value = $10;
    }
  | definition NAME LPAREN params RPAREN LPAREN params RPAREN block {
        $$ = new_item(parser, ITEM_DEF, @$, $2);
        $$->def.kind = $1;
        $$->def.has_config = true;
        $$->def.config = MAKE_LIST(ParamList, $4);
        $$->def.inputs = MAKE_LIST(ParamList, $7);
        $$->def.block = $9;
    }
  | EXPERIMENT NAME block { $$ = new_item(parser, ITEM_EXPERIMENT, @$, $2); $$->experiment.block = $3; }
  | TEST STRING block     { $$ = new_item(parser, ITEM_TEST, @$, (NameAt){0});
                            $$->test.title = $2; $$->test.block = $3; }
  ;

definition:
    OPERATOR { $$ = DEF_OPERATOR; }
  | PDE      { $$ = DEF_PDE; }
  | SCHEME   { $$ = DEF_SCHEME; }
  | NETWORK  { $$ = DEF_NETWORK; }
  | SOLVER   { $$ = DEF_SOLVER; }
  ;

params:
    %empty           { $$ = NEW(Params); }
  | param_list
  | param_list COMMA
  ;

param_list:
    param                  { $$ = NEW(Params); PUSH($$, $1); }
  | param_list COMMA param { $$ = $1; PUSH($$, $3); }
  ;

param:
    NAME                           { $$ = (Param){.name = $1.name, .span = $1.span}; }
  | NAME ASSIGN expr               { $$ = (Param){.name = $1.name, .span = $1.span, .value = $3}; }
  | NAME COLON NAME                { $$ = (Param){.name = $1.name, .span = $1.span, .type = $3.name}; }
  | NAME COLON NAME ASSIGN expr    { $$ = (Param){.name = $1.name, .span = $1.span, .type = $3.name, .value = $5}; }
  | NAME COLON NAME LBRACKET expr RBRACKET {
        $$ = (Param){.name = $1.name, .span = $1.span, .type = $3.name, .channels = $5};
    }
  | NAME COLON NAME LBRACKET expr RBRACKET ASSIGN expr {
        $$ = (Param){.name = $1.name, .span = $1.span, .type = $3.name, .channels = $5, .value = $8};
    }
  ;

block:
    LBRACE stmts RBRACE { $$ = make_block(parser, @$, $2); }
  ;

stmts:
    %empty            { $$ = NEW(Stmts); }
  | stmts NL
  | stmts stmt        { $$ = $1; PUSH($$, $2); }
  | stmts error NL    { yyerrok; $$ = $1; PUSH($$, STMT(ERROR, @2)); }
  | stmts error block { yyerrok; $$ = $1; PUSH($$, STMT(ERROR, @2)); }
  ;

stmt:
    LET names ASSIGN expr NL  { $$ = let(parser, @$, $2, $4); }
  | LET names ASSIGN error NL { yyerrok; $$ = let(parser, @$, $2, missing(parser, @4)); }
  | LET NAME LPAREN params RPAREN ASSIGN expr NL {
        $$ = STMT(LET_FN, @$);
        $$->let_fn.name = $2;
        $$->let_fn.params = MAKE_LIST(ParamList, $4);
        $$->let_fn.value = $7;
    }
  | INPUT NAME ASSIGN expr NL  { $$ = bind(parser, STMT_INPUT, @$, $2, $4); }
  | INPUT NAME ASSIGN error NL { yyerrok; $$ = bind(parser, STMT_INPUT, @$, $2, missing(parser, @4)); }
  | GRID NAME ASSIGN expr NL   { $$ = bind(parser, STMT_GRID, @$, $2, $4); }
  | GRID NAME ASSIGN error NL  { yyerrok; $$ = bind(parser, STMT_GRID, @$, $2, missing(parser, @4)); }
  | DATA NAME ASSIGN expr NL   { $$ = bind(parser, STMT_DATA, @$, $2, $4); }
  | DATA NAME ASSIGN error NL  { yyerrok; $$ = bind(parser, STMT_DATA, @$, $2, missing(parser, @4)); }
  | PARAM NAME ASSIGN expr limits NL {
        $$ = STMT(PARAM, @$);
        $$->param.name = $2;
        $$->param.value = $4;
        $$->param.ranges = MAKE_LIST(ExprList, &$5->ranges);
        $$->param.constraints = MAKE_LIST(ExprList, &$5->constraints);
        $$->param.rules = MAKE_LIST(ExprList, &$5->rules);
        $$->param.entry = $5->entry;
    }
  | PARAM NAME LBRACKET expr RBRACKET ASSIGN expr limits NL {
        $$ = STMT(PARAM, @$);
        $$->param.name = $2;
        $$->param.length = $4;
        $$->param.value = $7;
        $$->param.ranges = MAKE_LIST(ExprList, &$8->ranges);
        $$->param.constraints = MAKE_LIST(ExprList, &$8->constraints);
        $$->param.rules = MAKE_LIST(ExprList, &$8->rules);
        $$->param.entry = $8->entry;
    }
  | BOUNDARY names ASSIGN expr NL {
        $$ = STMT(BOUNDARY, @$);
        $$->boundary.names = $2->items;
        $$->boundary.count = $2->count;
        $$->boundary.value = $4;
    }
  | BOUNDARY names AT expr ASSIGN expr NL {
        $$ = STMT(BOUNDARY, @$);
        $$->boundary.names = $2->items;
        $$->boundary.count = $2->count;
        $$->boundary.side = $4;
        $$->boundary.value = $6;
    }
  | SOLVE expr ASSIGN expr FOR expr WITH expr NL {
        $$ = STMT(SOLVE, @$);
        $$->solve.left = $2;
        $$->solve.right = $4;
        $$->solve.unknown = $6;
        $$->solve.with = $8;
    }
  | SOLVE expr ASSIGN expr FOR expr FROM expr WITH expr NL {
        $$ = STMT(SOLVE, @$);
        $$->solve.left = $2;
        $$->solve.right = $4;
        $$->solve.unknown = $6;
        $$->solve.from = $8;
        $$->solve.with = $10;
    }
  | expr ASSIGN expr NL { $$ = STMT(EQUATION, @$); $$->equation.left = $1; $$->equation.right = $3; }
  | UNTIL expr NL       { $$ = STMT(UNTIL, @$); $$->expr.value = $2; }
  | RETURN exprs NL     { $$ = STMT(RETURN, @$); $$->ret.values = MAKE_LIST(ExprList, $2); }
  | if
  | FOR NAME IN expr block {
        $$ = STMT(FOR, @$);
        $$->loop.name = $2;
        $$->loop.range = $4;
        $$->loop.body = $5;
    }
  | TRAIN exprs FOR expr NAME WITH expr block {
        $$ = STMT(TRAIN, @$);
        $$->train.what = MAKE_LIST(ExprList, $2);
        $$->train.count = $4;
        $$->train.unit = $5;
        $$->train.with = $7;
        $$->train.body = $8;
    }
  | TRAIN exprs ON NAME IN expr FOR expr NAME WITH expr block {
        $$ = STMT(TRAIN, @$);
        $$->train.what = MAKE_LIST(ExprList, $2);
        $$->train.on_name = $4;
        $$->train.on = $6;
        $$->train.count = $8;
        $$->train.unit = $9;
        $$->train.with = $11;
        $$->train.body = $12;
    }
  | EVERY expr NAME block {
        $$ = STMT(EVERY, @$);
        $$->every.count = $2;
        $$->every.unit = $3;
        $$->every.body = $4;
    }
  | MINIMISE expr NL { $$ = STMT(MINIMISE, @$); $$->expr.value = $2; }
  | REPORT STRING COLON exprs NL {
        $$ = STMT(REPORT, @$);
        $$->print.label = $2;
        $$->print.values = MAKE_LIST(ExprList, $4);
    }
  | PRINT exprs NL { $$ = STMT(PRINT, @$); $$->print.values = MAKE_LIST(ExprList, $2); }
  | PRINT STRING COLON exprs NL {
        $$ = STMT(PRINT, @$);
        $$->print.label = $2;
        $$->print.values = MAKE_LIST(ExprList, $4);
    }
  | SAVE expr TO expr NL   { $$ = STMT(SAVE, @$); $$->file.what = $2; $$->file.where = $4; }
  | LOAD expr FROM expr NL { $$ = STMT(LOAD, @$); $$->file.what = $2; $$->file.where = $4; }
  | ASSERT expr NL         { $$ = STMT(ASSERT, @$); $$->expr.value = $2; }
  ;

if:
    IF expr block            { $$ = branch(parser, @$, $2, $3, NULL); }
  | IF expr block ELSE block { $$ = branch(parser, @$, $2, $3, $5); }
  | IF expr block ELSE if    {
        Stmts *stmts = NEW(Stmts);
        PUSH(stmts, $5);
        $$ = branch(parser, @$, $2, $3, make_block(parser, @5, stmts));
    }
  ;

names:
    NAME             { $$ = NEW(NameAts); PUSH($$, $1); }
  | names COMMA NAME { $$ = $1; PUSH($$, $3); }
  ;

limits:
    %empty                 { $$ = NEW(Limits); }
  | limits IN expr         { $$ = $1; PUSH(&$$->ranges, $3); }
  | limits SUBJECT TO expr { $$ = $1; PUSH(&$$->constraints, $4); }
  | limits WITH expr       { $$ = $1; PUSH(&$$->rules, $3); }
  | limits WITH expr AT expr { $$ = $1; PUSH(&$$->rules, $3); $$->entry = $5; }
  ;

expr:
    NAME                         { $$ = make_name(parser, $1); }
  | NUMBER
  | STRING
  | TRUE                         { $$ = make_expr(parser, EXPR_BOOL, @$); $$->boolean = true; }
  | FALSE                        { $$ = make_expr(parser, EXPR_BOOL, @$); }
  | LPAREN expr RPAREN           { $$ = spanned($2, @$); }
  | LBRACKET list_items RBRACKET { $$ = make_list(parser, @$, $2); }
  | expr LPAREN args RPAREN      { $$ = make_call(parser, @$, $1, $3); }
  | expr LBRACKET expr RBRACKET  { $$ = make_index(parser, @$, $1, $3); }
  | expr DOT NAME                { $$ = make_member(parser, @$, $1, $3); }
  | MINUS expr %prec UMINUS      { $$ = make_unary(parser, @$, AST_NEG, $2); }
  | NOT expr                     { $$ = make_unary(parser, @$, AST_NOT, $2); }
  | expr OR expr                 { $$ = BINARY(OR, @$, @2, $1, $3); }
  | expr AND expr                { $$ = BINARY(AND, @$, @2, $1, $3); }
  | expr EQ expr                 { $$ = BINARY(EQ, @$, @2, $1, $3); }
  | expr NE expr                 { $$ = BINARY(NE, @$, @2, $1, $3); }
  | expr LT expr                 { $$ = BINARY(LT, @$, @2, $1, $3); }
  | expr LE expr                 { $$ = BINARY(LE, @$, @2, $1, $3); }
  | expr GT expr                 { $$ = BINARY(GT, @$, @2, $1, $3); }
  | expr GE expr                 { $$ = BINARY(GE, @$, @2, $1, $3); }
  | expr RANGE expr              { $$ = BINARY(RANGE, @$, @2, $1, $3); }
  | expr ARROW expr              { $$ = BINARY(ARROW, @$, @2, $1, $3); }
  | expr PLUS expr               { $$ = BINARY(ADD, @$, @2, $1, $3); }
  | expr MINUS expr              { $$ = BINARY(SUB, @$, @2, $1, $3); }
  | expr STAR expr               { $$ = BINARY(MUL, @$, @2, $1, $3); }
  | expr SLASH expr              { $$ = BINARY(DIV, @$, @2, $1, $3); }
  | expr PERCENT expr            { $$ = BINARY(MOD, @$, @2, $1, $3); }
  | expr POWER expr              { $$ = BINARY(POW, @$, @2, $1, $3); }
  ;

exprs:
    expr             { $$ = NEW(Exprs); PUSH($$, $1); }
  | exprs COMMA expr { $$ = $1; PUSH($$, $3); }
  ;

list_items:
    %empty      { $$ = NEW(Exprs); }
  | exprs
  | exprs COMMA
  ;

args:
    %empty         { $$ = NEW(Args); }
  | arg_list
  | arg_list COMMA
  ;

arg_list:
    arg                { $$ = NEW(Args); PUSH($$, $1); }
  | arg_list COMMA arg { $$ = $1; PUSH($$, $3); }
  ;

arg:
    expr                 { $$ = (Arg){.value = $1}; }
  | NAME ASSIGN expr     { $$ = (Arg){.name = $1.name, .name_span = $1.span, .value = $3}; }
  | BOUNDARY ASSIGN expr { /* conv(1 -> 16, boundary = periodic): a reserved word among them */
        $$ = (Arg){.name = names_of(parser->names, "boundary"), .name_span = @1, .value = $3};
    }
  | EVERY ASSIGN expr { /* step(every = 100): the other one */
        $$ = (Arg){.name = names_of(parser->names, "every"), .name_span = @1, .value = $3};
    }
  ;

%%

static int yyreport_syntax_error(const yypcontext_t *context, Parser *parser) {
    yysymbol_kind_t symbols[EXPECTED_MOST];
    Expected expected = {0};
    int count = yypcontext_expected_tokens(context, symbols, EXPECTED_MOST);
    for (int i = 0; i < count; i++) {
        if (symbols[i] >= YYSYMBOL_NL) { /* the tokens are numbered in the order of their rows above */
            expected.has[symbols[i] - YYSYMBOL_NL] = true;
        }
    }
    report_unexpected(parser, &expected);
    return 0;
}

/* Only for what is no syntax error: the parser's stack is full. */
static void pdn_error(Span *at, Parser *parser, const char *message) {
    (void)message;
    too_deep(parser, *at);
}

static Item *new_item(Parser *parser, ItemKind kind, Span span, NameAt name) {
    Item *item = NEW(Item);
    item->kind = kind;
    item->span = span;
    item->name = name;
    return item;
}

static Expr *spanned(Expr *expr, Span span) {
    expr->parens = true;
    expr->span = span;
    return expr;
}

static Stmt *branch(Parser *parser, Span at, Expr *condition, Block *then, Block *otherwise) {
    Stmt *stmt = STMT(IF, at);
    stmt->branch.condition = condition;
    stmt->branch.then = then;
    stmt->branch.otherwise = otherwise;
    return stmt;
}

static Stmt *bind(Parser *parser, StmtKind kind, Span at, NameAt name, Expr *value) {
    Stmt *stmt = make_stmt(parser, kind, at);
    stmt->bind.name = name;
    stmt->bind.value = value;
    return stmt;
}

static Stmt *let(Parser *parser, Span at, const NameAts *names, Expr *value) {
    Stmt *stmt = STMT(LET, at);
    stmt->let.names = names->items;
    stmt->let.count = names->count;
    stmt->let.value = value;
    return stmt;
}

static Expr *missing(Parser *parser, Span at) { return make_expr(parser, EXPR_ERROR, at); }
