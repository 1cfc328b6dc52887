/* PETSc on the Poisson problem of poisson.pdn: -Δu = f on the unit square, u = 0 on its sides, five-point stencil on
 * nodes, geometric multigrid (all of it by options, see run.py). Prints, for each of -solves, the wall time of KSPSolve
 * from a zero start, set-up not counted; then the iterations and the relative residual. */
#include <petscdmda.h>
#include <petscksp.h>

#include <stdbool.h>

/* The matrix on the nodes of any level, boundary nodes too, whose rows are multiples of those of the identity. */
static PetscErrorCode matrix(KSP ksp, Mat unused, Mat m, void *context) {
    DM da;
    DMDALocalInfo info;
    PetscFunctionBeginUser;
    PetscCall(KSPGetDM(ksp, &da));
    PetscCall(DMDAGetLocalInfo(da, &info));
    for (PetscInt j = info.ys; j < info.ys + info.ym; j++)
        for (PetscInt i = info.xs; i < info.xs + info.xm; i++) {
            MatStencil row = {.i = i, .j = j}, columns[5];
            PetscScalar values[5];
            PetscInt count = 0;
            columns[count] = row;
            values[count++] = 4;
            const PetscInt beside[4][2] = {{i - 1, j}, {i + 1, j}, {i, j - 1}, {i, j + 1}};
            bool side = i == 0 || j == 0 || i == info.mx - 1 || j == info.my - 1;
            for (int k = 0; k < 4 && !side; k++) {
                PetscInt x = beside[k][0], y = beside[k][1];
                /* value 0 */
                if (x == 0 || y == 0 || x == info.mx - 1 || y == info.my - 1) continue;
                columns[count] = (MatStencil){.i = x, .j = y};
                values[count++] = -1;
            }
            PetscCall(MatSetValuesStencil(m, 1, &row, count, columns, values, INSERT_VALUES));
        }
    PetscCall(MatAssemblyBegin(m, MAT_FINAL_ASSEMBLY));
    PetscCall(MatAssemblyEnd(m, MAT_FINAL_ASSEMBLY));
    PetscFunctionReturn(0);
}

/* h² f, f = sin(3x) exp(y). */
static PetscErrorCode right_side(DM da, Vec b) {
    DMDALocalInfo info;
    PetscScalar **f;
    PetscFunctionBeginUser;
    PetscCall(DMDAGetLocalInfo(da, &info));
    PetscCall(DMDAVecGetArray(da, b, &f));
    PetscReal h = 1.0 / (PetscReal)(info.mx - 1);
    for (PetscInt j = info.ys; j < info.ys + info.ym; j++)
        for (PetscInt i = info.xs; i < info.xs + info.xm; i++) {
            bool side = i == 0 || j == 0 || i == info.mx - 1 || j == info.my - 1;
            f[j][i] =
                side ? 0
                     : h * h * PetscSinReal(3 * h * (PetscReal)i) * PetscExpReal(h * (PetscReal)j);
        }
    PetscCall(DMDAVecRestoreArray(da, b, &f));
    PetscFunctionReturn(0);
}

int main(int argc, char **argv) {
    DM da;
    KSP ksp;
    Vec b, x, r;
    Mat a;
    PetscInt solves = 3, iterations;
    PetscReal norm, size;
    PetscCall(PetscInitialize(&argc, &argv, NULL, NULL));
    PetscCall(PetscOptionsGetInt(NULL, NULL, "-solves", &solves, NULL));
    PetscCall(DMDACreate2d(PETSC_COMM_WORLD, DM_BOUNDARY_NONE, DM_BOUNDARY_NONE, DMDA_STENCIL_STAR,
                           3, 3, PETSC_DECIDE, PETSC_DECIDE, 1, 1, NULL, NULL, &da));
    PetscCall(DMSetFromOptions(da)); /* -da_refine */
    PetscCall(DMSetUp(da));
    PetscCall(KSPCreate(PETSC_COMM_WORLD, &ksp));
    PetscCall(KSPSetDM(ksp, da));
    PetscCall(KSPSetComputeOperators(ksp, matrix, NULL));
    PetscCall(KSPSetFromOptions(ksp));
    PetscCall(KSPSetUp(ksp));
    PetscCall(KSPGetDM(ksp, &da));
    PetscCall(DMCreateGlobalVector(da, &b));
    PetscCall(VecDuplicate(b, &x));
    PetscCall(VecDuplicate(b, &r));
    PetscCall(right_side(da, b));
    for (PetscInt k = 0; k < solves; k++) {
        PetscLogDouble start, end;
        PetscCall(VecSet(x, 0));
        PetscCallMPI(MPI_Barrier(PETSC_COMM_WORLD));
        PetscCall(PetscTime(&start));
        PetscCall(KSPSolve(ksp, b, x));
        PetscCallMPI(MPI_Barrier(PETSC_COMM_WORLD));
        PetscCall(PetscTime(&end));
        PetscCall(PetscPrintf(PETSC_COMM_WORLD, "seconds: %g\n", end - start));
    }
    PetscCall(KSPGetIterationNumber(ksp, &iterations));
    PetscCall(KSPGetOperators(ksp, &a, NULL));
    PetscCall(MatMult(a, x, r));
    PetscCall(VecAYPX(r, -1, b));
    PetscCall(VecNorm(r, NORM_2, &norm));
    PetscCall(VecNorm(b, NORM_2, &size));
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "iterations: %d\nresidual: %g\n", (int)iterations,
                          (double)(norm / size)));
    PetscCall(PetscFinalize());
    return 0;
}
