// node build.mjs DIR writes the production build of every app into DIR/<app>:
// index.html, and its script and style below assets.

import fs from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import * as angular from '@angular/compiler-cli';
import linker from '@angular/compiler-cli/linker/babel';
import babel from '@babel/core';
import solid from 'babel-preset-solid';
import esbuild from 'esbuild';
import * as svelte from 'svelte/compiler';
import ts from 'typescript';
import * as sfc from '@vue/compiler-sfc';

const here = path.dirname(fileURLToPath(import.meta.url));

const apps = {
  angular: { entry: 'main.ts', options: { plugins: [loader(/angular\/main\.ts$/, compileAngular), loader(/@angular\/.*\.mjs$/, linkAngular)] } },
  react: { entry: 'main.jsx', options: { jsx: 'automatic' } },
  emotion: { entry: 'main.jsx', options: { jsx: 'automatic', jsxImportSource: '@emotion/react' } },
  vue: { entry: 'main.js', options: { plugins: [loader(/\.vue$/, compileVue)] } },
  svelte: { entry: 'main.js', options: { plugins: [loader(/\.svelte$/, compileSvelte), loader(/\.svelte\.js$/, compileRunes)] } },
  lit: { entry: 'main.js', options: {} },
  solid: { entry: 'main.jsx', options: { plugins: [loader(/solid\/[^/]*\.jsx$/, compileSolid)] } },
  preact: { entry: 'main.jsx', options: { jsx: 'automatic', jsxImportSource: 'preact' } },
};

// loader has esbuild read the files of a framework through its compiler, which
// returns a script and perhaps a style.
function loader(filter, compile) {
  const styles = new Map();
  return {
    name: 'compile ' + filter,
    setup(build) {
      build.onLoad({ filter }, async ({ path: file }) => {
        const { code, css } = await compile(await fs.readFile(file, 'utf8'), file);
        styles.set(file + '.css', css);
        return { contents: css ? code + `\nimport ${JSON.stringify(file + '.css')};` : code };
      });
      build.onResolve({ filter: /\.(vue|svelte)\.css$/ }, ({ path }) => ({ path, namespace: 'style' }));
      build.onLoad({ filter: /./, namespace: 'style' }, ({ path }) => ({ contents: styles.get(path), loader: 'css' }));
    },
  };
}

function compileVue(source, filename) {
  const id = path.basename(filename, '.vue').toLowerCase();
  const { descriptor } = sfc.parse(source, { filename });
  const style = descriptor.styles[0];
  const { content } = sfc.compileScript(descriptor, {
    id, inlineTemplate: true, isProd: true, genDefaultAs: 'component',
    templateOptions: { compilerOptions: { scopeId: 'data-v-' + id } },
  });
  return {
    code: `${content}\ncomponent.__scopeId = 'data-v-${id}';\nexport default component;`,
    css: sfc.compileStyle({ source: style.content, filename, id: 'data-v-' + id, scoped: style.scoped, isProd: true }).code,
  };
}

function compileSvelte(source, filename) {
  const { js, css } = svelte.compile(source, { filename, css: 'external', dev: false });
  return { code: js.code, css: css?.code };
}

function compileRunes(source, filename) {
  return { code: svelte.compileModule(source, { filename, dev: false }).js.code };
}

function compileAngular(_, filename) {
  const options = {
    target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler,
    strict: true, noImplicitAny: false, skipLibCheck: true, types: [],
  };
  const host = angular.createCompilerHost({ options });
  let code;
  host.writeFile = (name, text) => { if (name.endsWith('/main.js')) code = text; };
  const { diagnostics } = angular.performCompilation({ rootNames: [filename], options, host });
  if (code === undefined || diagnostics.length > 0) throw new Error(angular.formatDiagnostics(diagnostics));
  return { code };
}

// Angular's packages are compiled only in part; the app's build does the rest.
async function linkAngular(source, filename) {
  if (!source.includes('ɵɵngDeclare')) return { code: source };
  return babel.transformAsync(source, { filename, plugins: [linker], babelrc: false, configFile: false, compact: false });
}

async function compileSolid(source, filename) {
  return babel.transformAsync(source, { filename, presets: [solid], babelrc: false, configFile: false });
}

async function build(name, { entry, options }, dir) {
  const { metafile } = await esbuild.build({
    entryPoints: { app: path.join(here, name, entry) },
    outdir: path.join(dir, name, 'assets'),
    bundle: true, minify: true, splitting: true, format: 'esm', metafile: true, logLevel: 'warning',
    conditions: ['production', 'browser'],
    define: {
      'process.env.NODE_ENV': '"production"',
      ngDevMode: 'false', ngJitMode: 'false',
      __VUE_OPTIONS_API__: 'false', __VUE_PROD_DEVTOOLS__: 'false', __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: 'false',
    },
    ...options,
  });
  const style = Object.keys(metafile.outputs).some((file) => file.endsWith('/app.css'));
  await fs.writeFile(path.join(dir, name, 'index.html'), `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Shop</title>
${style ? '<link rel="stylesheet" href="/assets/app.css">\n' : ''}<script type="module" src="/assets/app.js"></script></head>
<body><div id="app"></div></body></html>
`);
}

const dir = process.argv[2];
await Promise.all(Object.entries(apps).map(([name, app]) => build(name, app, dir)));
