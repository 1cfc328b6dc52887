/* The words of the textual form, for printer and reader. */
#ifndef PDN_GRAPH_WORDS_H
#define PDN_GRAPH_WORDS_H

enum { SIDE_WORDS = 5, TYPE_WORDS = 4, EFFECT_WORDS = 6 };
extern const char *const graph_side_words[SIDE_WORDS];     /* by SideKind */
extern const char *const graph_type_words[TYPE_WORDS];     /* by TypeKind */
extern const char *const graph_effect_words[EFFECT_WORDS]; /* by EffectKind */

#endif
